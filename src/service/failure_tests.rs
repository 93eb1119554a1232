//! What a failing model does to its batch, to others, and to the service.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::fake::{Device, FAILS, HIDDEN, NAN, NAN_UNLESS_F32, PANICS, TOO_LARGE, row, tiny};
use super::service_tests::{occupy, over, raw, service, submit};
use super::*;
use crate::error::Error;

#[tokio::test]
async fn an_error_or_panic_fails_its_batch_and_nothing_else_and_the_model_is_loaded_again() {
    for poison in [FAILS, PANICS] {
        let device = Device::new();
        let service = service(&device, ServiceOptions::default().window(Duration::ZERO));
        let busy = occupy(&device, &service).await;
        let poisoned = submit(&service, raw(vec![vec![1], vec![poison]])).await;
        // Another lane is another batch.
        let other = submit(&service, raw(vec![vec![2]]).lane(Lane::Bulk)).await;
        device.open_gate();
        busy.await.unwrap().unwrap();
        let error = poisoned.await.unwrap().unwrap_err();
        assert!(matches!(error, ServiceError::Internal(_)));
        assert_eq!(
            error.to_string(),
            "the model failed on a batch that held this request"
        );
        let answer = other.await.unwrap().unwrap();
        assert_eq!(answer.embeddings.data(), row(&[2], *HIDDEN));
        let stats = service.stats();
        assert_eq!((stats.failures, stats.reloads), (1, 1));
        assert_eq!(stats.requests.failed, 1);
        assert_eq!(stats.breaker, BreakerState::Closed);
        // The first model is gone before the second one serves, all on one thread.
        device.wait_dropped(1);
        assert_eq!(device.threads().len(), 1);
    }
}

#[tokio::test]
async fn the_rest_of_a_split_request_does_not_run_after_a_part_of_it_failed() {
    let device = Device::new();
    let service = over(&device, 4, ServiceOptions::default());
    let error = service.embed(raw(vec![vec![FAILS; 4], vec![1; 3]])).await;
    assert!(matches!(error, Err(ServiceError::Internal(_))));
    service.embed(raw(vec![vec![2]])).await.unwrap();
    assert_eq!(device.batches().len(), 2);
    assert_eq!(service.stats().accepted_inputs, 0);
}

#[tokio::test]
async fn a_vector_that_is_not_finite_is_its_own_requests_error_and_names_the_input() {
    let device = Device::new();
    let service = service(&device, ServiceOptions::default());
    let busy = occupy(&device, &service).await;
    let bad = submit(&service, raw(vec![vec![1], vec![NAN]])).await;
    let saved = submit(&service, raw(vec![vec![NAN_UNLESS_F32]])).await;
    let good = submit(&service, raw(vec![vec![2]])).await;
    device.open_gate();
    busy.await.unwrap().unwrap();
    let Err(ServiceError::Internal(error)) = bad.await.unwrap() else {
        panic!("a vector that is not finite was served");
    };
    assert!(matches!(
        *error,
        Error::NotFinite {
            index: 1,
            found: "NaN"
        }
    ));
    let saved = saved.await.unwrap().unwrap();
    assert_eq!(saved.embeddings.data(), row(&[NAN_UNLESS_F32], *HIDDEN));
    let good = good.await.unwrap().unwrap();
    assert_eq!(good.embeddings.data(), row(&[2], *HIDDEN));
    assert_eq!(device.batches()[1].len(), 4, "all were in one batch");
    assert_eq!(service.stats().failures, 0);
}

#[tokio::test]
async fn an_input_too_large_for_the_device_is_refused_and_its_neighbours_run() {
    let device = Device::new();
    let service = service(&device, ServiceOptions::default());
    let busy = occupy(&device, &service).await;
    let bad = submit(&service, raw(vec![vec![1], vec![TOO_LARGE]])).await;
    let good = submit(&service, raw(vec![vec![2]])).await;
    device.open_gate();
    busy.await.unwrap().unwrap();
    let Err(ServiceError::InvalidInput(error)) = bad.await.unwrap() else {
        panic!("an input that is too large was served");
    };
    assert!(matches!(*error, Error::InputTooLarge { index: 1, .. }));
    let good = good.await.unwrap().unwrap();
    assert_eq!(good.embeddings.data(), row(&[2], *HIDDEN));
    assert_eq!(service.stats().failures, 0);
}

#[tokio::test]
async fn repeated_failures_open_the_breaker_which_refuses_at_once_and_lets_a_shutdown_through() {
    let device = Device::new();
    let options = ServiceOptions::default()
        .breaker_failures(2)
        .breaker_pause(Duration::from_secs(3600));
    let service = service(&device, options);
    for _ in 0..2 {
        let error = service.embed(raw(vec![vec![FAILS]])).await;
        assert!(matches!(error, Err(ServiceError::Internal(_))));
    }
    let Err(ServiceError::Unavailable(why)) = service.embed(raw(vec![vec![1]])).await else {
        panic!("served without a model");
    };
    assert!(matches!(why, Unavailable::BreakerOpen { retry_after } if !retry_after.is_zero()));
    assert!(matches!(service.health(), Health::BreakerOpen));
    assert_eq!(service.stats().breaker, BreakerState::Open);
    assert!(service.ready().is_err());
    service.loaded().await.unwrap();
    assert_eq!(
        service.shutdown(Duration::from_secs(60)).await,
        Drained::All
    );
}

#[tokio::test]
async fn after_the_pause_one_batch_that_runs_closes_the_breaker() {
    let device = Device::new();
    let options = ServiceOptions::default()
        .breaker_failures(1)
        .breaker_pause(Duration::ZERO);
    let service = service(&device, options);
    let error = service.embed(raw(vec![vec![PANICS]])).await;
    assert!(matches!(error, Err(ServiceError::Internal(_))));
    while !matches!(service.health(), Health::Ready) {
        tokio::task::yield_now().await;
    }
    assert_eq!(service.stats().breaker, BreakerState::HalfOpen);
    service.embed(raw(vec![vec![1]])).await.unwrap();
    assert_eq!(service.stats().breaker, BreakerState::Closed);
}

#[tokio::test]
async fn a_model_that_fails_to_load_again_is_tried_again() {
    let device = Device::new();
    let loads = Arc::new(AtomicUsize::new(0));
    let make = {
        let (device, loads) = (Arc::clone(&device), Arc::clone(&loads));
        move || match loads.fetch_add(1, Ordering::Relaxed) {
            1 => Err(Error::EmptyRequest),
            2 => panic!("as it was told"),
            _ => device.embedder(4096),
        }
    };
    let options = ServiceOptions::default().breaker_failures(10);
    let service = Service::load(make, options).unwrap();
    service.embed(raw(vec![vec![FAILS]])).await.unwrap_err();
    service.embed(raw(vec![vec![1]])).await.unwrap();
    assert_eq!(loads.load(Ordering::Relaxed), 4);
    let stats = service.stats();
    assert_eq!((stats.failures, stats.reloads), (3, 1));
}

#[tokio::test]
async fn a_model_whose_files_changed_is_not_served() {
    let device = Device::new();
    let dir = tempfile::tempdir().unwrap();
    for file in ["config.json", "tokenizer.json", "model.safetensors"] {
        std::fs::copy(tiny().join(file), dir.path().join(file)).unwrap();
    }
    let make = {
        let (device, path) = (Arc::clone(&device), dir.path().to_owned());
        move || device.embedder_from(&path, 4096)
    };
    let service = Service::load(make, ServiceOptions::default()).unwrap();
    let prompts = r#"{"prompts": {"document": "passage: "}}"#;
    let file = dir.path().join("config_sentence_transformers.json");
    std::fs::write(file, prompts).unwrap();
    service.embed(raw(vec![vec![FAILS]])).await.unwrap_err();
    let refused = loop {
        match service.embed(raw(vec![vec![1]])).await {
            Err(ServiceError::Unavailable(Unavailable::LoadFailed(error))) => break error,
            // It had been lined up before the new model was looked at.
            Err(ServiceError::ShuttingDown) => continue,
            other => panic!("another space was served: {other:?}"),
        }
    };
    assert!(matches!(*refused, Error::ModelChanged { .. }));
    assert!(matches!(service.health(), Health::Failed(_)));
}

#[tokio::test]
async fn a_model_that_does_not_load_is_a_typed_error_and_the_service_ends() {
    let start = || {
        let make = || Embedder::from_dir("no/such/directory").build();
        Service::start(make, ServiceOptions::default()).unwrap()
    };
    let service = start();
    let Err(ServiceError::Unavailable(Unavailable::LoadFailed(error))) = service.loaded().await
    else {
        panic!("loaded from nothing");
    };
    assert!(matches!(*error, Error::ModelNotFound { .. }));
    assert!(matches!(service.health(), Health::Failed(_)));
    assert!(service.info().is_none());
    let refused = service.embed(raw(vec![vec![1]])).await.unwrap_err();
    assert_eq!(
        refused.to_string(),
        "unavailable: the model could not be loaded"
    );
    assert_eq!(
        service.shutdown(Duration::from_secs(60)).await,
        Drained::All
    );
}

#[tokio::test]
async fn a_start_returns_before_the_model_is_there() {
    let device = Device::new();
    let (go, wait) = std::sync::mpsc::channel::<()>();
    let make = {
        let device = Arc::clone(&device);
        move || {
            wait.recv().unwrap();
            device.embedder(4096)
        }
    };
    let service = Service::start(make, ServiceOptions::default()).unwrap();
    assert!(matches!(service.health(), Health::Loading));
    let refused = service.embed(raw(vec![vec![1]])).await.unwrap_err();
    assert_eq!(
        refused.to_string(),
        "unavailable: the model is being loaded"
    );
    go.send(()).unwrap();
    service.loaded().await.unwrap();
    service.embed(raw(vec![vec![1]])).await.unwrap();
}
