//! A request's body: read within its limits, then parsed.

use std::sync::Arc;

use axum::body::{Body, HttpBody};
use axum::extract::Request;
use axum::http::HeaderMap;
use axum::http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http_body_util::BodyExt;
use serde::de::DeserializeOwned;
use serde_json::error::Category;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::problem::{Kind, Problem};
use super::server::Server;

/// A larger body is parsed away from the threads that serve connections.
const INLINE: usize = 64 << 10;

/// A parsed body, and the room that it takes among all bodies until it is dropped.
pub(super) struct Parsed<T> {
    pub(super) value: T,
    pub(super) room: OwnedSemaphorePermit,
}

/// Reads a JSON object.
pub(super) async fn read<T: DeserializeOwned + Send + 'static>(
    server: &Server,
    request: Request,
) -> Result<Parsed<T>, Problem> {
    check_type(request.headers())?;
    let limits = &server.limits;
    let max = limits.max_body_bytes.get() as usize;
    let collected = collect(request.into_body(), max, &server.body_bytes);
    let Ok(collected) = tokio::time::timeout(limits.body_timeout, collected).await else {
        let message = format!("the body took longer than {:?}", limits.body_timeout);
        return Err(Problem::new(Kind::Timeout, message));
    };
    let (bytes, room) = collected?;
    let value = match bytes.len() {
        ..=INLINE => parse(&bytes),
        _ => super::offload(move || parse(&bytes)).await?,
    };
    Ok(Parsed {
        value: value?,
        room,
    })
}

/// Browsers send other types across sites unasked, so these are not guessed at.
fn check_type(headers: &HeaderMap) -> Result<(), Problem> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let kind = text(CONTENT_TYPE).unwrap_or_default();
    let essence = kind.split(';').next().unwrap_or_default().trim();
    if !essence.eq_ignore_ascii_case("application/json") {
        let message = "expected the header Content-Type: application/json";
        return Err(Problem::new(Kind::NotJsonType, message));
    }
    match text(CONTENT_ENCODING) {
        None | Some("identity") => Ok(()),
        Some(_) => Err(Problem::new(
            Kind::NotJsonType,
            "expected a body without Content-Encoding",
        )),
    }
}

async fn collect(
    mut body: Body,
    max: usize,
    room: &Arc<Semaphore>,
) -> Result<(Vec<u8>, OwnedSemaphorePermit), Problem> {
    let too_large = || Problem::new(Kind::TooLarge, format!("the body is over {max} bytes"));
    // Before the first byte is read.
    if body.size_hint().lower() > max as u64 {
        return Err(too_large());
    }
    let mut held = reserve(room, 0)?;
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        let broken = |_| Problem::new(Kind::Malformed, "the body ended early");
        let Ok(data) = frame.map_err(broken)?.into_data() else {
            continue;
        };
        if data.len() > max - bytes.len() {
            return Err(too_large());
        }
        held.merge(reserve(room, data.len())?);
        bytes.extend_from_slice(&data);
    }
    Ok((bytes, held))
}

fn reserve(room: &Arc<Semaphore>, bytes: usize) -> Result<OwnedSemaphorePermit, Problem> {
    let permits = u32::try_from(bytes).ok();
    let held = permits.and_then(|n| Arc::clone(room).try_acquire_many_owned(n).ok());
    held.ok_or_else(|| Problem::new(Kind::Overloaded, "too many bytes of requests are held"))
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    // Derived structs read from lists too.
    if bytes.trim_ascii_start().starts_with(b"[") {
        return Err(Problem::new(
            Kind::Invalid,
            "expected an object, found a list",
        ));
    }
    serde_json::from_slice(bytes).map_err(|error| match error.classify() {
        Category::Data => Problem::new(Kind::Invalid, error.to_string()),
        _ => Problem::new(Kind::Malformed, format!("the body is not JSON: {error}")),
    })
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    struct Ask {
        #[serde(rename = "text")]
        _text: String,
    }

    fn kind(body: &[u8]) -> Kind {
        parse::<Ask>(body).unwrap_err().kind
    }

    #[test]
    fn what_is_no_json_differs_from_json_that_is_no_request() {
        let deep = [b"{\"text\": ".to_vec(), b"[".repeat(100_000)].concat();
        for body in [
            &b""[..],
            b"{",
            b"text=a",
            b"{\"text\": \"\xFF\"}",
            br#"{"text": "\ud800"}"#,
            br#"{"text": "a"} {}"#,
        ] {
            assert_eq!(kind(body), Kind::Malformed);
        }
        for body in [&b"{}"[..], b"[\"a\"]", b"7", br#"{"text": 7}"#, &deep] {
            assert_eq!(kind(body), Kind::Invalid);
        }
    }

    #[test]
    fn other_types_and_encodings_are_refused() {
        let check = |name, value| {
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            headers.insert(name, HeaderValue::from_static(value));
            check_type(&headers).is_ok()
        };
        assert!(check(CONTENT_TYPE, "Application/JSON; charset=utf-8"));
        assert!(check(CONTENT_ENCODING, "identity"));
        assert!(!check(CONTENT_TYPE, "text/plain"));
        assert!(!check(CONTENT_TYPE, "application/jsonl"));
        assert!(!check(CONTENT_ENCODING, "gzip"));
        assert!(check_type(&HeaderMap::new()).is_err());
    }

    #[tokio::test]
    async fn a_body_may_fill_its_limit_and_the_room_of_all_but_not_more() {
        let room = Arc::new(Semaphore::new(6));
        let kind = |body: &'static str, max| {
            let room = Arc::clone(&room);
            async move { collect(body.into(), max, &room).await.map_err(|p| p.kind) }
        };
        let (bytes, held) = kind("abcd", 4).await.unwrap();
        assert_eq!(bytes, b"abcd");
        assert_eq!(kind("abcd", 3).await.unwrap_err(), Kind::TooLarge);
        assert_eq!(kind("abc", 4).await.unwrap_err(), Kind::Overloaded);
        drop(held);
        assert!(kind("abc", 4).await.is_ok());
    }
}
