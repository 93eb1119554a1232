//! The hub's protocol: the files of a revision, and size, hash and bytes of a file.

use hf_hub::api::RepoInfo;
use hf_hub::{Repo, RepoType};
use ureq::BodyReader;
use ureq::http::HeaderMap;

use super::content::ContentHash;
use super::failure::Failure;
use super::http::{Client, Method};
use super::names;

const MAX_LISTING: u64 = 16 << 20;

/// One model on the hub.
pub(super) struct Remote<'a> {
    client: Client<'a>,
    endpoint: &'a str,
    model: &'a str,
}

/// The files of one commit.
pub(super) struct Listing {
    pub(super) commit: String,
    files: Vec<String>,
}

impl Listing {
    pub(super) fn has(&self, file: &str) -> bool {
        self.files.iter().any(|listed| listed == file)
    }
}

/// What the hub declares of a file.
pub(super) struct FileInfo {
    pub(super) hash: ContentHash,
    pub(super) size: u64,
}

/// The content of a file from byte `from` on.
pub(super) struct Content {
    pub(super) from: u64,
    pub(super) body: BodyReader<'static>,
}

impl<'a> Remote<'a> {
    pub(super) fn new(
        endpoint: &'a str,
        token: Option<&'a str>,
        model: &'a str,
    ) -> Result<Self, Failure> {
        Ok(Self {
            client: Client::new(endpoint, token)?,
            endpoint,
            model,
        })
    }

    /// The commit that `revision` stands for now, and its files.
    pub(super) fn listing(&self, revision: &str) -> Result<Listing, Failure> {
        let url = format!("{}/api/{}", self.endpoint, self.repo(revision).api_url());
        let answer = self
            .client
            .request(Method::Get, &url, 0, &mut |_| ())?
            .accepted()?;
        let json = answer
            .into_body()
            .into_with_config()
            .limit(MAX_LISTING)
            .read_to_vec()
            .map_err(|error| Failure::Transient(error.to_string()))?;
        let info: RepoInfo = serde_json::from_slice(&json)
            .map_err(|error| Failure::Permanent(format!("not the JSON of a model: {error}")))?;
        if !names::is_commit(&info.sha) {
            return Err(unexpected("commit", "40 hexadecimal digits", &info.sha));
        }
        if names::is_commit(revision) && info.sha != revision {
            return Err(unexpected("commit", revision, &info.sha));
        }
        let files = info
            .siblings
            .into_iter()
            .map(|file| file.rfilename)
            .collect();
        Ok(Listing {
            commit: info.sha,
            files,
        })
    }

    /// Hash and size of a file, from headers alone.
    pub(super) fn file_info(&self, commit: &str, file: &str) -> Result<FileInfo, Failure> {
        let mut declared = Declared::default();
        let url = self.url(commit, file);
        let seen = &mut |headers: &HeaderMap| declared.read(headers);
        let answer = self
            .client
            .request(Method::Head, &url, 0, seen)?
            .accepted()?;
        if answer.status().is_success() && declared.linked_size.is_none() {
            declared.linked_size = text(answer.headers(), "content-length");
        }
        declared.checked(commit)
    }

    /// The bytes of a file from `from` on, or from its start if the server gives no
    /// ranges; nothing if it says that the file has no such byte.
    pub(super) fn content(
        &self,
        commit: &str,
        file: &str,
        from: u64,
    ) -> Result<Option<Content>, Failure> {
        let answer =
            self.client
                .request(Method::Get, &self.url(commit, file), from, &mut |_| ())?;
        if from > 0 && answer.response.status() == 416 {
            return Ok(None);
        }
        let response = answer.accepted()?;
        let from = match response.status().as_u16() {
            200 => 0,
            206 => {
                let range = text(response.headers(), "content-range").unwrap_or_default();
                if !range.starts_with(&format!("bytes {from}-")) {
                    return Err(unexpected(
                        "Content-Range",
                        &format!("bytes {from}-"),
                        &range,
                    ));
                }
                from
            }
            status => {
                return Err(Failure::Permanent(format!(
                    "HTTP {status} instead of the content"
                )));
            }
        };
        Ok(Some(Content {
            from,
            body: response.into_body().into_reader(),
        }))
    }

    fn url(&self, commit: &str, file: &str) -> String {
        let repo = self.repo(commit);
        let path: Vec<String> = file.split('/').map(percent_encoded).collect();
        format!(
            "{}/{}/resolve/{}/{}",
            self.endpoint,
            repo.url(),
            repo.url_revision(),
            path.join("/")
        )
    }

    fn repo(&self, revision: &str) -> Repo {
        Repo::with_revision(self.model.to_owned(), RepoType::Model, revision.to_owned())
    }
}

/// Headers of a file as they were sent, over all hops on the hub.
#[derive(Default)]
struct Declared {
    commit: Option<String>,
    etag: Option<String>,
    linked_etag: Option<String>,
    linked_size: Option<String>,
}

impl Declared {
    fn read(&mut self, headers: &HeaderMap) {
        let fields = [
            (&mut self.commit, "x-repo-commit"),
            (&mut self.etag, "etag"),
            (&mut self.linked_etag, "x-linked-etag"),
            (&mut self.linked_size, "x-linked-size"),
        ];
        for (field, name) in fields {
            if let Some(value) = text(headers, name) {
                *field = Some(value);
            }
        }
    }

    fn checked(self, commit: &str) -> Result<FileInfo, Failure> {
        let found = self.commit.unwrap_or_default();
        if found != commit {
            return Err(unexpected("X-Repo-Commit", commit, &found));
        }
        let etag = self.linked_etag.or(self.etag).unwrap_or_default();
        let hash = ContentHash::parse(&etag)
            .ok_or_else(|| unexpected("ETag", "40 or 64 hexadecimal digits", &etag))?;
        let size = self.linked_size.unwrap_or_default();
        let size = size
            .parse()
            .map_err(|_| unexpected("size", "a number of bytes", &size))?;
        Ok(FileInfo { hash, size })
    }
}

fn text(headers: &HeaderMap, name: &str) -> Option<String> {
    Some(headers.get(name)?.to_str().ok()?.to_owned())
}

fn unexpected(what: &str, expected: &str, found: &str) -> Failure {
    let found: String = found.chars().take(100).collect();
    Failure::Permanent(format!(
        "the hub gives an unusable {what}: expected {expected}, found {found:?}"
    ))
}

fn percent_encoded(piece: &str) -> String {
    let plain =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~');
    piece
        .bytes()
        .map(|byte| {
            if plain(byte) {
                char::from(byte).to_string()
            } else {
                format!("%{byte:02X}")
            }
        })
        .collect()
}
