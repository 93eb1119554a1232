//! An earlier report, and how much faster this one is.

use std::fs;
use std::path::Path;

use serde::Deserialize;

use super::machine::Machine;
use super::report::{CaseReport, ModelIdentity, Report};
use crate::failure::Failure;

/// What a comparison needs of an earlier report.
#[derive(Deserialize)]
pub(super) struct Baseline {
    version: String,
    machine: Machine,
    model: ModelIdentity,
    backend: Ran,
    threads: Option<usize>,
    cases: Vec<CaseReport>,
}

/// What may differ: it is what one compares.
#[derive(Deserialize)]
struct Ran {
    name: String,
    device: String,
    precision: String,
    library_version: String,
}

impl Baseline {
    pub(super) fn read(path: &Path) -> Result<Self, Failure> {
        let bytes = fs::read(path).map_err(|error| Failure::io(path.display(), &error))?;
        serde_json::from_slice(&bytes).map_err(|error| {
            let expected = "expected the output of `qwen3-embed bench --json`";
            Failure::Runtime(format!("{}: {expected}: {error}", path.display()))
        })
    }

    /// Of each case of the report, the earlier median over the present one; none where the baseline
    /// lacks it.
    ///
    /// # Errors
    /// Where the two measured something else, or on another machine.
    pub(super) fn ratios(&self, report: &Report<'_>) -> Result<Vec<Option<f64>>, Failure> {
        same(
            "machine",
            &self.machine.to_string(),
            &report.machine.to_string(),
        )?;
        let [before, now] = [&self.model, &report.model];
        // A directory's name says nothing about what is in it.
        same("model", &before.revision, &now.revision)?;
        same("tokenizer", &before.tokenizer, &now.tokenizer)?;
        let cases = report.cases.iter().map(|case| self.ratio(case));
        let ratios = cases.collect::<Result<Vec<_>, _>>()?;
        match ratios.iter().any(Option::is_some) {
            true => Ok(ratios),
            false => {
                let names: Vec<&str> = self.cases.iter().map(|case| case.case.as_str()).collect();
                let message = format!(
                    "the baseline has none of these cases, but {}",
                    names.join(", ")
                );
                Err(Failure::Runtime(message))
            }
        }
    }

    fn ratio(&self, now: &CaseReport) -> Result<Option<f64>, Failure> {
        let Some(before) = self.cases.iter().find(|before| before.case == now.case) else {
            return Ok(None);
        };
        let tokens = |case: &CaseReport| format!("{} tokens", case.tokens.useful);
        same(&format!("case {}", now.case), &tokens(before), &tokens(now))?;
        Ok(Some(before.ms.median / now.ms.median))
    }

    /// What ran then.
    pub(super) fn described(&self) -> String {
        let Ran {
            name,
            device,
            precision,
            library_version,
        } = &self.backend;
        let threads = self.threads.map(|threads| format!(", {threads} threads"));
        format!(
            "{name} {library_version} on {device}, {precision}{}, qwen3-embed {}",
            threads.unwrap_or_default(),
            self.version
        )
    }
}

fn same(what: &str, before: &str, now: &str) -> Result<(), Failure> {
    match before == now {
        true => Ok(()),
        false => Err(Failure::Runtime(format!(
            "the baseline cannot be compared: its {what} is {before}, this one's {now}"
        ))),
    }
}
