//! One request to the hub: timeouts, redirects, who sees the token, what a refusal means.

use std::time::Duration;

use ureq::http::{HeaderMap, StatusCode, Uri};
use ureq::{Agent, Body};

use super::failure::Failure;

type Response = ureq::http::Response<Body>;

const MAX_REDIRECTS: usize = 5;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Method {
    Head,
    Get,
}

/// The final answer, after redirects.
pub(super) struct Answer {
    pub(super) response: Response,
    host: String,
    from_hub: bool,
}

pub(super) struct Client<'a> {
    agent: Agent,
    hub: Uri,
    token: Option<&'a str>,
}

impl<'a> Client<'a> {
    pub(super) fn new(endpoint: &str, token: Option<&'a str>) -> Result<Self, Failure> {
        let hub = absolute(endpoint).ok_or_else(|| {
            Failure::Permanent(format!("the endpoint {endpoint:?} is not an http(s) URL"))
        })?;
        let agent = Agent::config_builder()
            .user_agent(concat!("qwen3-embedding/", env!("CARGO_PKG_VERSION")))
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .timeout_resolve(Some(Duration::from_secs(10)))
            .timeout_connect(Some(Duration::from_secs(15)))
            .timeout_recv_response(Some(Duration::from_secs(30)))
            // No limit on a whole file, only on silence.
            .timeout_per_read(Some(Duration::from_secs(30)))
            .build()
            .new_agent();
        Ok(Self { agent, hub, token })
    }

    /// Requests `url` and follows redirects, showing `seen` the headers of each answer of the hub.
    ///
    /// A HEAD stays on the hub: what lies behind is a content server, whose
    /// headers mean something else. The token stays on the hub as well.
    pub(super) fn request(
        &self,
        method: Method,
        url: &str,
        from: u64,
        seen: &mut dyn FnMut(&HeaderMap),
    ) -> Result<Answer, Failure> {
        let mut at = absolute(url)
            .ok_or_else(|| Failure::Permanent(format!("{url:?} is not an http(s) URL")))?;
        for _ in 0..=MAX_REDIRECTS {
            let from_hub = origin(&at) == origin(&self.hub);
            let response = self.send(method, &at, from, from_hub)?;
            if from_hub {
                seen(response.headers());
            }
            let host = at.host().unwrap_or_default().to_owned();
            if !is_redirect(response.status()) {
                return Ok(Answer {
                    response,
                    host,
                    from_hub,
                });
            }
            let next = target(&at, response.headers()).ok_or_else(|| {
                Failure::Permanent(format!("{host} redirects to no usable address"))
            })?;
            if method == Method::Head && origin(&next) != origin(&self.hub) {
                return Ok(Answer {
                    response,
                    host,
                    from_hub,
                });
            }
            at = next;
        }
        Err(Failure::Permanent(format!(
            "more than {MAX_REDIRECTS} redirects"
        )))
    }

    fn send(
        &self,
        method: Method,
        uri: &Uri,
        from: u64,
        from_hub: bool,
    ) -> Result<Response, Failure> {
        let mut request = match method {
            Method::Head => self.agent.head(uri),
            Method::Get => self.agent.get(uri),
        };
        // Lengths and ranges count the bytes of the file, not of a compressed copy.
        request = request.header("accept-encoding", "identity");
        if from > 0 {
            request = request.header("range", format!("bytes={from}-"));
        }
        if let Some(token) = self.token.filter(|_| from_hub) {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        request.call().map_err(|error| {
            let reason = format!("{}: {error}", uri.host().unwrap_or_default());
            match error {
                ureq::Error::Http(_) | ureq::Error::BadUri(_) => Failure::Permanent(reason),
                _ => Failure::Transient(reason),
            }
        })
    }
}

impl Answer {
    /// The response, if its status says that it holds what was asked for.
    pub(super) fn accepted(self) -> Result<Response, Failure> {
        let status = self.response.status();
        if status.is_success() || is_redirect(status) {
            return Ok(self.response);
        }
        let code = self
            .response
            .headers()
            .get("x-error-code")
            .and_then(|code| code.to_str().ok());
        let mut said = format!("{} answers HTTP {}", self.host, status.as_u16());
        if let Some(code) =
            code.filter(|code| code.bytes().all(|byte| byte.is_ascii_alphanumeric()))
        {
            said = format!("{said} ({code})");
        }
        Err(match (status.as_u16(), code) {
            // The hub says 401 for a model that does not exist, so as not to tell which ones do.
            (401 | 403, Some("RepoNotFound")) => Failure::Missing(format!(
                "{said}: no such model, or a private one that needs a token (HF_TOKEN)"
            )),
            (401 | 403, _) if self.from_hub => Failure::Permanent(format!(
                "{said}: this model needs a token (HF_TOKEN) of an account that has accepted its licence"
            )),
            (404 | 410, _) => Failure::Missing(said),
            // Elsewhere, a signed address has expired: the next attempt gets a new one.
            (401 | 403 | 408 | 425 | 429 | 500..=599, _) => Failure::Transient(said),
            _ => Failure::Permanent(said),
        })
    }
}

fn absolute(url: &str) -> Option<Uri> {
    let uri: Uri = url.parse().ok()?;
    let web = matches!(uri.scheme_str(), Some("http" | "https"));
    (web && uri.host().is_some_and(|host| !host.is_empty())).then_some(uri)
}

fn origin(uri: &Uri) -> (Option<&str>, Option<&str>, Option<u16>) {
    let default = if uri.scheme_str() == Some("https") {
        443
    } else {
        80
    };
    (
        uri.scheme_str(),
        uri.host(),
        uri.port_u16().or(Some(default)),
    )
}

fn is_redirect(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}

/// Where a redirect leads: a whole URL, or a path on the same host.
fn target(at: &Uri, headers: &HeaderMap) -> Option<Uri> {
    let location = headers.get("location")?.to_str().ok()?;
    if location.starts_with('/') && !location.starts_with("//") {
        let (scheme, authority) = (at.scheme_str()?, at.authority()?);
        return absolute(&format!("{scheme}://{authority}{location}"));
    }
    absolute(location)
}
