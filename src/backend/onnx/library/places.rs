//! Where the library is looked for, in this order: the caller's option, the variable, the
//! program's folder, the path recorded at build. `ORT_DYLIB_PATH` is never read: a library that
//! somebody else's variable names is code that nobody here asked for.

use std::env;
use std::path::{Path, PathBuf};

/// Names the library at run time, and at build time the one to record.
const VARIABLE: &str = "QWEN3_ONNXRUNTIME";

/// The places, as paths that need not exist.
#[derive(Debug, Clone, Default)]
pub(super) struct Places {
    option: Option<PathBuf>,
    variable: Option<PathBuf>,
    program_folder: Option<PathBuf>,
    recorded: Option<PathBuf>,
}

impl Places {
    /// Those of this process; `option` is what the caller named.
    pub(super) fn from_environment(option: Option<&Path>) -> Self {
        let variable = env::var_os(VARIABLE).filter(|value| !value.is_empty());
        let program = env::current_exe().ok();
        Self {
            option: option.map(Path::to_owned),
            variable: variable.map(PathBuf::from),
            program_folder: program.and_then(|program| Some(program.parent()?.to_owned())),
            recorded: option_env!("QWEN3_ORT_DYLIB").map(PathBuf::from),
        }
    }

    /// The library to load, as an absolute path.
    ///
    /// # Errors
    /// What was looked for and what would help.
    pub(super) fn find(&self) -> Result<PathBuf, String> {
        if let Some(named) = self.named()? {
            return Ok(named);
        }
        let beside = self.beside_the_program();
        let recorded = self.recorded.iter().cloned();
        let found = beside
            .into_iter()
            .chain(recorded)
            .find(|path| path.is_file());
        found.ok_or_else(|| {
            let recorded = match &self.recorded {
                Some(path) => format!("{}, recorded at build, is gone", path.display()),
                None => "none was recorded at build".to_owned(),
            };
            format!(
                "no library was found: none lies beside the program and {recorded}; \
                 set {VARIABLE} to {} of version 1.{} or newer",
                file_name(),
                super::OLDEST
            )
        })
    }

    /// The library that the caller or the user names, which must be there.
    ///
    /// # Errors
    /// Who named a file that is not there.
    pub(super) fn named(&self) -> Result<Option<PathBuf>, String> {
        let option = self
            .option
            .as_ref()
            .map(|path| (path, "onnxruntime_library"));
        let variable = self.variable.as_ref().map(|path| (path, VARIABLE));
        let Some((path, by)) = option.or(variable) else {
            return Ok(None);
        };
        if !path.is_file() {
            return Err(format!("{}, named by {by}, is not a file", path.display()));
        }
        // A relative path would be taken from the program's folder.
        Ok(Some(
            std::path::absolute(path).unwrap_or_else(|_| path.clone()),
        ))
    }

    /// The plain name, and the versioned one that the pinned wheel gives it.
    fn beside_the_program(&self) -> Vec<PathBuf> {
        let versioned = self.recorded.as_ref().and_then(|path| path.file_name());
        let names = [Some(file_name().into()), versioned.map(ToOwned::to_owned)];
        let folder = self.program_folder.iter();
        folder
            .flat_map(|folder| names.iter().flatten().map(|name| folder.join(name)))
            .collect()
    }
}

fn file_name() -> String {
    format!(
        "{}onnxruntime{}",
        env::consts::DLL_PREFIX,
        env::consts::DLL_SUFFIX
    )
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// All four places in one folder, each with its file.
    fn all(folder: &Path) -> Places {
        let program_folder = folder.join("program");
        fs::create_dir(&program_folder).unwrap();
        fs::write(program_folder.join(file_name()), "").unwrap();
        let file = |name: &str| {
            fs::write(folder.join(name), "").unwrap();
            Some(folder.join(name))
        };
        Places {
            option: file("option"),
            variable: file("variable"),
            program_folder: Some(program_folder),
            recorded: file("libonnxruntime.1.31.1"),
        }
    }

    #[test]
    fn the_option_comes_first_then_the_variable_the_program_and_the_build() {
        let folder = tempfile::tempdir().unwrap();
        let mut places = all(folder.path());
        let found = |places: &Places| places.find().unwrap();
        assert_eq!(found(&places), folder.path().join("option"));
        places.option = None;
        assert_eq!(found(&places), folder.path().join("variable"));
        places.variable = None;
        let program = folder.path().join("program");
        assert_eq!(found(&places), program.join(file_name()));
        let versioned = program.join("libonnxruntime.1.31.1");
        fs::rename(program.join(file_name()), &versioned).unwrap();
        assert_eq!(found(&places), versioned);
        fs::remove_file(versioned).unwrap();
        assert_eq!(found(&places), folder.path().join("libonnxruntime.1.31.1"));
    }

    #[test]
    fn a_named_file_that_is_not_there_is_an_error_and_nothing_else_is_tried() {
        let folder = tempfile::tempdir().unwrap();
        let missing = folder.path().join("missing");
        let mut places = all(folder.path());
        places.variable = Some(missing.clone());
        assert_eq!(places.find().unwrap(), folder.path().join("option"));
        places.option = None;
        assert_eq!(
            places.find().unwrap_err(),
            format!(
                "{}, named by QWEN3_ONNXRUNTIME, is not a file",
                missing.display()
            )
        );
        places.option = Some(folder.path().to_owned());
        assert_eq!(
            places.find().unwrap_err(),
            format!(
                "{}, named by onnxruntime_library, is not a file",
                folder.path().display()
            )
        );
    }

    #[test]
    fn without_any_library_the_error_says_where_it_was_looked_for_and_what_helps() {
        let cure = format!(
            "set QWEN3_ONNXRUNTIME to {} of version 1.24 or newer",
            file_name()
        );
        assert_eq!(
            Places::default().find().unwrap_err(),
            format!(
                "no library was found: none lies beside the program and none was recorded at \
                 build; {cure}"
            )
        );
        let emptied = Places {
            recorded: Some("cache/libonnxruntime".into()),
            ..Places::default()
        };
        assert_eq!(
            emptied.find().unwrap_err(),
            format!(
                "no library was found: none lies beside the program and cache/libonnxruntime, \
                 recorded at build, is gone; {cure}"
            )
        );
    }
}
