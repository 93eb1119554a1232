//! A small model on a stand-in hub, and an empty cache to fetch it into.

use std::fs;
use std::path::{Path, PathBuf};

use qwen3_embedding::{Error, Hub, Network, Snapshot};
use tempfile::TempDir;

use super::hub_server::HubServer;

pub const MODEL: &str = "tests/tiny-model";
pub const SECOND_COMMIT: &str = "2222222222222222222222222222222222222222";
pub const WEIGHTS: &[u8] = &[7; 3000];

/// A model on a server, and an empty cache.
pub struct Setup {
    pub repo: TempDir,
    pub cache: TempDir,
    pub server: HubServer,
}

impl Setup {
    pub fn new() -> Self {
        let repo = tempfile::tempdir().unwrap();
        write_model(repo.path());
        let server = HubServer::serve(repo.path(), MODEL);
        Self {
            repo,
            cache: tempfile::tempdir().unwrap(),
            server,
        }
    }

    pub fn sharded() -> Self {
        let setup = Self::new();
        let repo = setup.repo.path();
        fs::remove_file(repo.join("model.safetensors")).unwrap();
        fs::write(repo.join("a-1.safetensors"), [1; 100]).unwrap();
        fs::write(repo.join("a 2.safetensors"), [2; 200]).unwrap();
        setup.index(
            r#"{"weight_map":{"x":"a-1.safetensors","y":"a 2.safetensors","z":"a-1.safetensors"}}"#,
        );
        setup
    }

    pub fn index(&self, json: &str) {
        fs::write(self.repo.path().join("model.safetensors.index.json"), json).unwrap();
    }

    pub fn hub(&self) -> Hub {
        let hub = Hub::from_env().token(None).network(Network::Allowed);
        hub.cache_dir(self.cache.path().to_owned())
            .endpoint(self.server.endpoint.clone())
    }

    pub fn fetch(&self) -> Result<Snapshot, Error> {
        self.hub().fetch(MODEL, None, &mut |_| ())
    }

    pub fn offline(&self) -> Result<Snapshot, Error> {
        self.hub()
            .network(Network::Forbidden)
            .fetch(MODEL, None, &mut |_| ())
    }

    pub fn text(&self, result: Result<Snapshot, Error>) -> String {
        let text = result.unwrap_err().to_string();
        text.replace(self.cache.path().to_str().unwrap(), "CACHE")
    }

    pub fn in_cache(&self, path: &str) -> PathBuf {
        self.cache
            .path()
            .join("models--tests--tiny-model")
            .join(path)
    }

    /// Marks the file as Python's huggingface_hub does after a 404.
    pub fn mark_absent(&self, commit: &str, file: &str) {
        let marker = self.in_cache(".no_exist").join(commit).join(file);
        fs::create_dir_all(marker.parent().unwrap()).unwrap();
        fs::write(marker, "").unwrap();
    }

    /// The files that are marked as absent from the repository, in order.
    pub fn marked_absent(&self, commit: &str) -> Vec<String> {
        let dir = self.in_cache(".no_exist").join(commit);
        let mut markers = Vec::new();
        walk(&dir, &mut markers);
        assert!(
            markers
                .iter()
                .all(|path| fs::read(path).unwrap().is_empty())
        );
        let names = markers.iter().map(|path| path.strip_prefix(&dir).unwrap());
        let mut names: Vec<_> = names
            .map(|name| name.to_str().unwrap().to_owned())
            .collect();
        names.sort();
        names
    }

    /// The files whose bytes were asked for, in order.
    pub fn downloaded(&self) -> Vec<String> {
        let requests = self.server.requests().into_iter();
        let bytes = requests.filter(|request| request.method == "GET");
        let files = bytes.filter_map(|request| {
            let (_, rest) = request.path.split_once("/resolve/")?;
            Some(rest.split_once('/')?.1.to_owned())
        });
        files.collect()
    }

    pub fn part(&self, hash: &str) -> PathBuf {
        self.in_cache("blobs").join(format!("{hash}.part"))
    }

    /// Every file and link of the cache, locks aside.
    pub fn cached_files(&self) -> Vec<String> {
        let mut files = Vec::new();
        walk(self.cache.path(), &mut files);
        let prefix = format!("{}/", self.cache.path().to_str().unwrap());
        let files = files
            .into_iter()
            .map(|path| path.to_str().unwrap().replace(&prefix, ""));
        let mut files: Vec<_> = files.filter(|path| !path.ends_with(".lock")).collect();
        files.sort();
        files
    }

    /// The ranges of the requests for a file's bytes.
    pub fn ranges(&self, file: &str) -> Vec<Option<String>> {
        let requests = self.server.requests().into_iter();
        let bytes = requests.filter(|request| {
            request.method == "GET"
                && request.path.contains("/resolve/")
                && request.path.ends_with(file)
        });
        bytes.map(|request| request.range).collect()
    }
}

pub fn write_model(dir: &Path) {
    let files: [(&str, &[u8]); 11] = [
        ("config.json", br#"{"model_type":"qwen3"}"#),
        ("tokenizer.json", br#"{"version":"1.0"}"#),
        ("tokenizer_config.json", b"{}\n"),
        ("config_sentence_transformers.json", b"{  }\n"),
        ("modules.json", b"[]\n"),
        ("1_Pooling/config.json", b"{   }\n"),
        ("model.safetensors", WEIGHTS),
        // Never wanted:
        ("special_tokens_map.json", b"{ }\n"),
        ("README.md", b"# Tiny\n"),
        ("pytorch_model.bin", b"pickle"),
        ("onnx/config.json", b"{    }\n"),
    ];
    for (name, content) in files {
        fs::create_dir_all(dir.join(name).parent().unwrap()).unwrap();
        fs::write(dir.join(name), content).unwrap();
    }
}

pub fn walk(dir: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            walk(&entry.path(), files);
        } else {
            files.push(entry.path());
        }
    }
}
