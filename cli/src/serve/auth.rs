//! Keys that requests must bear.

use std::fs;
use std::path::Path;

use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};

use super::problem::{Kind, Problem};
use crate::failure::Failure;

/// The accepted keys, hashed, so that comparing takes the same time whatever is sent.
pub(super) struct Keys(Vec<[u8; 32]>);

impl Keys {
    /// Reads keys, one a line; blank lines are left out.
    pub(super) fn from_file(path: &Path) -> Result<Self, Failure> {
        let text = fs::read_to_string(path).map_err(|error| Failure::io(path.display(), &error))?;
        let keys = Self::parse(&text);
        if keys.0.is_empty() {
            let message = format!("{}: expected at least one key, found none", path.display());
            return Err(Failure::Runtime(message));
        }
        Ok(keys)
    }

    fn parse(text: &str) -> Self {
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        Self(lines.map(|key| hash(key.as_bytes())).collect())
    }

    /// Whether the request bears one of the keys.
    pub(super) fn check(&self, headers: &HeaderMap) -> Result<(), Problem> {
        let Some(key) = bearer(headers) else {
            let message = "an API key is required: send the header Authorization: Bearer KEY";
            return Err(Problem::new(Kind::Unauthorized, message));
        };
        let key = hash(key);
        // Every key is compared, so that the time does not tell which one is near.
        let found = self
            .0
            .iter()
            .fold(Choice::from(0), |found, known| found | known.ct_eq(&key));
        match bool::from(found) {
            true => Ok(()),
            false => Err(Problem::new(Kind::Unauthorized, "the API key is not valid")),
        }
    }
}

/// What stands after `Bearer`, whose case does not matter.
fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let value = headers.get(AUTHORIZATION)?.as_bytes();
    let (scheme, key) = value.split_at_checked(b"bearer ".len())?;
    scheme
        .eq_ignore_ascii_case(b"bearer ")
        .then(|| key.trim_ascii())
}

fn hash(key: &[u8]) -> [u8; 32] {
    Sha256::digest(key).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(keys: &Keys, value: Option<&str>) -> Result<(), Kind> {
        let mut headers = HeaderMap::new();
        if let Some(value) = value {
            headers.insert(AUTHORIZATION, value.parse().unwrap());
        }
        keys.check(&headers).map_err(|problem| problem.kind)
    }

    #[test]
    fn any_of_the_keys_opens_and_nothing_else() {
        let keys = Keys::parse("first\n\n  second \r\n");
        for good in ["Bearer first", "bearer second", "BEARER  first "] {
            assert_eq!(kind(&keys, Some(good)), Ok(()), "{good}");
        }
        for bad in [
            "Bearer firs",
            "Bearer ",
            "Bearer",
            "Basic first",
            "first",
            "Bearer third",
        ] {
            assert_eq!(kind(&keys, Some(bad)), Err(Kind::Unauthorized), "{bad}");
        }
        assert_eq!(kind(&keys, None), Err(Kind::Unauthorized));
    }
}
