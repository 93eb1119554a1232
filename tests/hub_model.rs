//! A model by its id: downloaded from a stand-in hub, loaded, equal to the reference; then offline.
#![cfg(all(feature = "hub", any(feature = "mlx", feature = "onnx")))]
#![allow(clippy::unwrap_used)]

mod support;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use qwen3_embedding::{Device, EmbedOptions, Embedder, Hub, Network};
use support::hub_server::HubServer;
use support::*;

const ID: &str = "tests/tiny";

#[test]
fn a_downloaded_model_gives_the_references_vectors_also_offline() {
    let server = HubServer::serve(&tiny(), ID);
    let cache = tempfile::tempdir().unwrap();
    let hub = Hub::from_env()
        .endpoint(server.endpoint.clone())
        .cache_dir(cache.path().to_owned())
        .token(None)
        .network(Network::Allowed);

    let arrived = Rc::new(RefCell::new(BTreeMap::new()));
    let seen = Rc::clone(&arrived);
    let mut online = Embedder::from_hub(ID)
        .hub(hub.clone())
        .on_progress(move |progress| {
            let file = progress.file.to_owned();
            seen.borrow_mut()
                .insert(file, (progress.done, progress.total));
        })
        .backend(BACKENDS[0])
        .device(Device::Cpu)
        .build()
        .unwrap();
    assert_eq!(online.model(), ID);
    let space = online.space(&EmbedOptions::default()).unwrap();
    assert_eq!((space.model.as_str(), space.revision.len()), (ID, 40));
    let weights = std::fs::metadata(tiny().join("model.safetensors")).unwrap();
    let done = arrived.borrow()["model.safetensors"];
    assert_eq!(done, (weights.len(), weights.len()));

    let golden = &goldens(&tiny())[5];
    let text = golden.case["text"].as_str().unwrap();
    let vector = online.embed(&[text], &raw()).unwrap();
    assert!(cosine(vector.data(), &golden.hidden) >= 0.99999);

    drop(server);
    let mut offline = Embedder::from_hub(ID)
        .hub(hub.network(Network::Forbidden))
        .backend(BACKENDS[0])
        .device(Device::Cpu)
        .build()
        .unwrap();
    assert_eq!(offline.embed(&[text], &raw()).unwrap(), vector);
    assert_eq!(offline.space(&EmbedOptions::default()).unwrap(), space);
}
