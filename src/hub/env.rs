//! The environment variables that Hugging Face's tools share.

use std::path::PathBuf;

use super::{Hub, Network};

const ENDPOINT: &str = "https://huggingface.co";

pub(super) fn hub(lookup: impl Fn(&str) -> Option<String>, home: Option<PathBuf>) -> Hub {
    let set = |name| lookup(name).filter(|value| !value.is_empty());
    let hf_home = set("HF_HOME").map(PathBuf::from).unwrap_or_else(|| {
        // Without a home directory the cache lies below the working directory.
        let cache = set("XDG_CACHE_HOME").map(PathBuf::from);
        cache
            .unwrap_or_else(|| home.unwrap_or_default().join(".cache"))
            .join("huggingface")
    });
    let token = set("HF_TOKEN")
        .or_else(|| std::fs::read_to_string(hf_home.join("token")).ok())
        .map(|token| token.trim().to_owned())
        .filter(|token| !token.is_empty());

    Hub {
        cache: set("HF_HUB_CACHE").map_or_else(|| hf_home.join("hub"), PathBuf::from),
        endpoint: String::new(),
        token,
        network: network(set("HF_HUB_OFFLINE").as_deref()),
    }
    .endpoint(set("HF_ENDPOINT").unwrap_or_else(|| ENDPOINT.to_owned()))
}

fn network(offline: Option<&str>) -> Network {
    match offline.map(str::to_ascii_lowercase).as_deref() {
        Some("1" | "true" | "yes" | "on") => Network::Forbidden,
        _ => Network::Allowed,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn from(variables: &[(&str, &str)]) -> Hub {
        let lookup = |name: &str| {
            variables
                .iter()
                .find(|(key, _)| *key == name)
                .map(|(_, value)| (*value).to_owned())
        };
        hub(lookup, Some(PathBuf::from("/nowhere/me")))
    }

    #[test]
    fn an_empty_environment_means_the_public_hub_and_the_standard_cache() {
        let hub = from(&[("HF_HOME", ""), ("HF_TOKEN", "")]);
        assert_eq!(
            hub.cache,
            PathBuf::from("/nowhere/me/.cache/huggingface/hub")
        );
        assert_eq!(hub.endpoint, "https://huggingface.co");
        assert_eq!(hub.token, None);
        assert_eq!(hub.network, Network::Allowed);
    }

    #[test]
    fn the_cache_is_the_most_specific_variable() {
        let cases: [(&[(&str, &str)], &str); 3] = [
            (&[("XDG_CACHE_HOME", "/x")], "/x/huggingface/hub"),
            (&[("XDG_CACHE_HOME", "/x"), ("HF_HOME", "/h")], "/h/hub"),
            (&[("HF_HOME", "/h"), ("HF_HUB_CACHE", "/c")], "/c"),
        ];
        for (variables, expected) in cases {
            assert_eq!(
                from(variables).cache,
                PathBuf::from(expected),
                "{variables:?}"
            );
        }
    }

    #[test]
    fn the_token_is_the_variable_or_else_the_file_below_hf_home() {
        let home = tempfile::tempdir().unwrap();
        std::fs::write(home.path().join("token"), "from file\n").unwrap();
        let home = home.path().to_str().unwrap();
        assert_eq!(
            from(&[("HF_HOME", home)]).token.as_deref(),
            Some("from file")
        );
        let both = from(&[("HF_HOME", home), ("HF_TOKEN", "from variable\n")]);
        assert_eq!(both.token.as_deref(), Some("from variable"));
    }

    #[test]
    fn offline_and_endpoint_are_read() {
        for value in ["1", "true", "TRUE", "Yes", "on"] {
            assert_eq!(
                from(&[("HF_HUB_OFFLINE", value)]).network,
                Network::Forbidden,
                "{value}"
            );
        }
        for value in ["0", "false", "no", ""] {
            assert_eq!(
                from(&[("HF_HUB_OFFLINE", value)]).network,
                Network::Allowed,
                "{value}"
            );
        }
        assert_eq!(
            from(&[("HF_ENDPOINT", "http://mirror/x/")]).endpoint,
            "http://mirror/x"
        );
    }

    #[test]
    fn debug_output_hides_the_token() {
        let text = format!("{:?}", from(&[("HF_TOKEN", "hf_secret")]));
        assert!(
            text.contains("(hidden)") && !text.contains("hf_secret"),
            "{text}"
        );
    }
}
