//! Fields that several APIs have.

use qwen3_embedding::{EmbedOptions, Normalization, Truncation};

use super::problem::Problem;

/// Cuts vectors to `wanted` of the model's `hidden` elements.
pub(super) fn dimensions(
    options: EmbedOptions,
    wanted: Option<i64>,
    hidden: usize,
) -> Result<EmbedOptions, Problem> {
    let Some(wanted) = wanted else {
        return Ok(options);
    };
    match usize::try_from(wanted) {
        Ok(wanted) if (1..=hidden).contains(&wanted) => Ok(options.dimensions(wanted)),
        _ => {
            let message = format!("dimensions: expected 1..={hidden}, found {wanted}");
            Err(Problem::invalid("dimensions", message))
        }
    }
}

/// Cuts texts that are too long, only where that was asked for.
pub(super) fn truncation(options: EmbedOptions, truncate: Option<bool>) -> EmbedOptions {
    options.truncation(match truncate {
        Some(true) => Truncation::End,
        Some(false) | None => Truncation::Error,
    })
}

/// Scales vectors to length 1, unless that was declined.
pub(super) fn normalization(options: EmbedOptions, normalize: Option<bool>) -> EmbedOptions {
    options.normalization(match normalize {
        Some(true) | None => Normalization::L2,
        Some(false) => Normalization::None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dimensions_are_those_that_the_model_has() {
        for wanted in [1, 64] {
            let options = dimensions(EmbedOptions::default(), Some(wanted), 64);
            assert_eq!(
                options,
                Ok(EmbedOptions::default().dimensions(wanted as usize))
            );
        }
        for wanted in [0, -1, 65, 1_000_000_000, i64::MIN] {
            let problem = dimensions(EmbedOptions::default(), Some(wanted), 64).unwrap_err();
            assert_eq!(
                problem.message,
                format!("dimensions: expected 1..=64, found {wanted}")
            );
        }
    }
}
