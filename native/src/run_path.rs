//! Where the dynamic linker looks for a native library when the program runs.

use std::env;
use std::path::Path;

/// Gives the package being built a run path: beside the program first, then `library_folder`.
///
/// For build scripts. Cargo applies it to the programs, tests, examples and
/// `cdylib`s of that package alone, so each package with a binary calls it.
/// Targets other than Linux and macOS have no run path and get none.
#[allow(
    clippy::print_stdout,
    reason = "this is how a build script talks to cargo"
)]
pub fn run_path(library_folder: &Path) {
    let os = env::var("CARGO_CFG_TARGET_OS").unwrap_or_default();
    // Separate words: after `-Wl,` a comma in a folder's name would split it.
    for word in linker_words(&os, library_folder) {
        println!("cargo::rustc-link-arg=-Xlinker");
        println!("cargo::rustc-link-arg={word}");
    }
}

fn linker_words(target_os: &str, library_folder: &Path) -> Vec<String> {
    let library_folder = library_folder.display().to_string();
    let words = match target_os {
        // GNU ld would also want to see the library's own dependencies, which for
        // another machine (CUDA, a cross build) are not on this one.
        "linux" => vec![
            "--allow-shlib-undefined",
            "-rpath",
            "$ORIGIN",
            "-rpath",
            &library_folder,
        ],
        "macos" => vec!["-rpath", "@executable_path", "-rpath", &library_folder],
        _ => Vec::new(),
    };
    words.into_iter().map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The run path among the linker's words.
    fn folders(target_os: &str) -> Vec<String> {
        let words = linker_words(target_os, Path::new("/cache, 2/lib"));
        let flags = words.iter().zip(words.iter().skip(1));
        let folders = flags.filter(|(flag, _)| *flag == "-rpath");
        folders.map(|(_, folder)| folder.clone()).collect()
    }

    #[test]
    fn the_program_s_own_folder_comes_first() {
        assert_eq!(folders("linux"), ["$ORIGIN", "/cache, 2/lib"]);
        assert_eq!(folders("macos"), ["@executable_path", "/cache, 2/lib"]);
    }

    #[test]
    fn a_target_without_run_paths_gets_none() {
        assert!(folders("windows").is_empty());
    }
}
