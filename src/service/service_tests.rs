//! The service over a device that does as it is told: who gets what, and who is told what.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::task::{JoinHandle, yield_now};

use super::fake::{Device, HIDDEN, row};
use super::*;
use crate::options::EmbedOptions;
use crate::tokenizer::Truncation;
use crate::vector::Normalization;

const LONG: Duration = Duration::from_secs(3600);

pub(super) fn service(device: &Arc<Device>, options: ServiceOptions) -> Service {
    over(device, 4096, options)
}

pub(super) fn over(device: &Arc<Device>, batch_tokens: usize, options: ServiceOptions) -> Service {
    let device = Arc::clone(device);
    Service::load(move || device.embedder(batch_tokens), options).unwrap()
}

pub(super) fn raw(sequences: Vec<Vec<u32>>) -> Request {
    let options = EmbedOptions::default().normalization(Normalization::None);
    Request::token_ids(sequences).options(options)
}

/// Submits a request and lets it reach the queue.
pub(super) async fn submit(
    service: &Service,
    request: Request,
) -> JoinHandle<Result<Response, ServiceError>> {
    let service = service.clone();
    let task = tokio::spawn(async move { service.embed(request).await });
    yield_now().await;
    task
}

/// Occupies the device with one request that stands before the gate.
pub(super) async fn occupy(
    device: &Device,
    service: &Service,
) -> JoinHandle<Result<Response, ServiceError>> {
    device.shut_gate();
    let begun = device.batches().len() + 1;
    let task = submit(service, raw(vec![vec![900]])).await;
    device.wait_begun(begun);
    task
}

fn ids_of(number: u32) -> Vec<u32> {
    (0..=number % 7).map(|i| (number + i) % 800).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn every_caller_gets_its_own_rows_under_its_own_options() {
    let device = Device::new();
    let service = over(&device, 64, ServiceOptions::default());
    let tasks = (0..300).map(|number| {
        let service = service.clone();
        tokio::spawn(async move {
            let sequences = vec![ids_of(number), ids_of(number + 1)];
            let dimensions = 1 + number as usize % *HIDDEN;
            let options = EmbedOptions::default()
                .normalization(Normalization::None)
                .dimensions(dimensions);
            let lane = [Lane::Query, Lane::Bulk][number as usize % 2];
            let request = Request::token_ids(sequences.clone()).options(options);
            let answer = service.embed(request.lane(lane)).await.unwrap();
            let expected = sequences.iter().flat_map(|ids| row(ids, dimensions));
            assert_eq!(answer.embeddings.data(), expected.collect::<Vec<_>>());
            assert_eq!(
                answer.embeddings.tokens(),
                [sequences[0].len(), sequences[1].len()]
            );
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.unwrap();
    }
    let stats = service.stats();
    assert_eq!(stats.requests.answered, 300);
    assert_eq!(stats.accepted_inputs, 0);
    assert_eq!(device.threads().len(), 1);
}

#[tokio::test]
async fn what_waits_while_the_device_is_busy_runs_in_one_batch() {
    let device = Device::new();
    let service = service(&device, ServiceOptions::default());
    let mut tasks = vec![occupy(&device, &service).await];
    for length in [3, 1, 2] {
        tasks.push(submit(&service, raw(vec![vec![5; length]])).await);
    }
    device.open_gate();
    for task in tasks {
        task.await.unwrap().unwrap();
    }
    let batches = device.batches();
    assert_eq!(batches[1], [vec![5; 3], vec![5; 1], vec![5; 2]]);
    let stats = service.stats();
    assert_eq!((stats.tokens, stats.computed_tokens), (1 + 6, 1 + 9));
    assert_eq!(stats.batch_rows.sum, 4.0);
    assert_eq!(stats.memory.map(|memory| memory.active), Some(7));
}

#[tokio::test]
async fn a_large_request_is_split_over_batches_and_joined_in_order() {
    let device = Device::new();
    let service = over(&device, 16, ServiceOptions::default());
    let sequences: Vec<Vec<u32>> = (0..50).map(ids_of).collect();
    let answer = service.embed(raw(sequences.clone())).await.unwrap();
    assert!(device.batches().len() > 10);
    for (ids, found) in sequences.iter().zip(answer.embeddings.iter()) {
        assert_eq!(found, row(ids, *HIDDEN));
    }
}

#[tokio::test]
async fn a_full_queue_says_so_at_once_and_has_room_again_afterwards() {
    let device = Device::new();
    let service = service(&device, ServiceOptions::default().queue_inputs(3));
    let mut tasks = vec![occupy(&device, &service).await];
    tasks.push(submit(&service, raw(vec![vec![1], vec![2]])).await);
    let refused = service.embed(raw(vec![vec![3]])).await;
    assert!(
        matches!(refused, Err(ServiceError::Overloaded { retry_after }) if retry_after > Duration::ZERO)
    );
    device.open_gate();
    for task in tasks {
        task.await.unwrap().unwrap();
    }
    service.embed(raw(vec![vec![3]])).await.unwrap();
    assert_eq!(service.stats().requests.overloaded, 1);
}

#[tokio::test]
async fn a_request_larger_than_any_limit_is_invalid_and_not_overload() {
    let device = Device::new();
    let options = ServiceOptions::default().queue_inputs(3).max_text_bytes(5);
    let service = service(&device, options.queue_bytes(40));
    let invalid = async |request| match service.embed(request).await {
        Err(ServiceError::InvalidInput(error)) => error.to_string(),
        other => panic!("expected invalid input, found {other:?}"),
    };
    assert_eq!(
        invalid(raw(vec![vec![1]; 4])).await,
        "inputs: expected 1..=3, found 4"
    );
    assert_eq!(
        invalid(Request::texts(["12345", "123456"])).await,
        "input 1: 6 bytes, more than the limit of 5; split the text"
    );
    assert_eq!(
        invalid(raw(vec![vec![1; 11]])).await,
        "bytes of all inputs: expected 1..=40, found 44"
    );
    assert_eq!(
        invalid(raw(vec![])).await,
        "the request is empty: expected at least one input"
    );
    assert_eq!(
        invalid(raw(vec![vec![1], vec![]])).await,
        "input 1: expected at least one token id, found none"
    );
    assert_eq!(service.stats().requests.invalid, 5);
    assert!(device.batches().is_empty());
}

#[tokio::test]
async fn a_text_of_a_megabyte_is_refused_also_where_it_would_be_cut_and_a_shorter_one_is_cut() {
    let device = Device::new();
    let service = service(&device, ServiceOptions::default());
    let blank = |bytes| {
        let options = EmbedOptions::default()
            .truncation(Truncation::End)
            .max_tokens(9);
        Request::texts([" ".repeat(bytes)]).options(options)
    };
    let refused = service.embed(blank(1 << 20)).await.unwrap_err();
    let reason = "input 0: 1048576 bytes, more than the limit of ";
    assert!(refused.to_string().starts_with(reason), "{refused}");
    let answer = service.embed(blank(10_000)).await.unwrap();
    assert_eq!(answer.embeddings.tokens(), [9]);
    assert_eq!(answer.embeddings.truncated(), [true]);
}

#[tokio::test]
async fn a_deadline_is_told_while_the_device_is_busy_and_its_request_never_runs() {
    let device = Device::new();
    let service = service(&device, ServiceOptions::default());
    let busy = occupy(&device, &service).await;
    let deadline = Instant::now() + Duration::from_millis(20);
    let late = raw(vec![vec![42]]).deadline(deadline);
    // The gate is still shut when the answer comes.
    let answer = service.embed(late.clone()).await;
    assert!(matches!(answer, Err(ServiceError::DeadlineExceeded)));
    // One that has passed already is not even lined up.
    let answer = service.embed(late).await;
    assert!(matches!(answer, Err(ServiceError::DeadlineExceeded)));
    device.open_gate();
    busy.await.unwrap().unwrap();
    service.embed(raw(vec![vec![1]])).await.unwrap();
    assert!(!device.batches().concat().contains(&vec![42]));
    assert_eq!(service.stats().requests.expired, 2);
}

#[tokio::test]
async fn a_caller_that_is_gone_frees_its_place_and_never_runs() {
    let device = Device::new();
    let service = service(&device, ServiceOptions::default());
    let busy = occupy(&device, &service).await;
    let gone = submit(&service, raw(vec![vec![42], vec![43]])).await;
    let kept = submit(&service, raw(vec![vec![44]])).await;
    assert_eq!(service.stats().accepted_inputs, 4);
    gone.abort();
    assert!(gone.await.unwrap_err().is_cancelled());
    assert_eq!(service.stats().accepted_inputs, 2);
    device.open_gate();
    busy.await.unwrap().unwrap();
    let answer = kept.await.unwrap().unwrap();
    assert_eq!(answer.embeddings.data(), row(&[44], *HIDDEN));
    assert_eq!(device.batches(), [vec![vec![900]], vec![vec![44]]]);
    assert_eq!(service.stats().requests.cancelled, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn half_the_callers_gone_at_any_moment_shift_nobody_elses_answer() {
    let device = Device::new();
    let service = over(&device, 32, ServiceOptions::default());
    let answered = Arc::new(AtomicUsize::new(0));
    let tasks: Vec<_> = (0..600u32)
        .map(|number| {
            let (service, answered) = (service.clone(), Arc::clone(&answered));
            tokio::spawn(async move {
                let sequences = vec![ids_of(number), vec![number % 800]];
                let answer = service.embed(raw(sequences.clone())).await.unwrap();
                let expected = sequences.iter().flat_map(|ids| row(ids, *HIDDEN));
                assert_eq!(answer.embeddings.data(), expected.collect::<Vec<_>>());
                answered.fetch_add(1, Ordering::Relaxed);
            })
        })
        .collect();
    for (number, task) in tasks.iter().enumerate() {
        // Spread over the run: some wait, some are on the device, some have their answer.
        if number % 2 == 0 {
            yield_now().await;
            task.abort();
        }
    }
    let mut cancelled = 0;
    for (number, task) in tasks.into_iter().enumerate() {
        match task.await {
            Ok(()) => {}
            Err(error) => {
                assert!(error.is_cancelled() && number % 2 == 0, "{error}");
                cancelled += 1;
            }
        }
    }
    assert_eq!(answered.load(Ordering::Relaxed) + cancelled, 600);
    assert!(cancelled > 0);
    let stats = service.stats();
    assert_eq!((stats.accepted_inputs, stats.queries.sequences), (0, 0));
}

#[tokio::test]
async fn a_shutdown_answers_what_was_accepted_and_drops_the_model_on_its_thread() {
    let device = Device::new();
    let service = service(&device, ServiceOptions::default());
    let mut tasks = vec![occupy(&device, &service).await];
    for number in 0..5 {
        tasks.push(submit(&service, Request::texts([format!("text {number}")])).await);
    }
    let ending = {
        let service = service.clone();
        tokio::spawn(async move { service.shutdown(LONG).await })
    };
    yield_now().await;
    assert!(matches!(service.health(), Health::Draining));
    let refused = service.embed(raw(vec![vec![1]])).await;
    assert!(matches!(refused, Err(ServiceError::ShuttingDown)));
    device.open_gate();
    for task in tasks {
        task.await.unwrap().unwrap();
    }
    assert_eq!(ending.await.unwrap(), Drained::All);
    assert!(matches!(service.health(), Health::Stopped));
    device.wait_dropped(1);
    assert_eq!(device.threads().len(), 1);
    // A second call finds the same end.
    assert_eq!(service.shutdown(Duration::ZERO).await, Drained::All);
}

#[tokio::test]
async fn a_shutdowns_limit_ends_what_waits_although_the_device_is_busy() {
    let device = Device::new();
    let service = service(&device, ServiceOptions::default());
    let mut tasks = vec![occupy(&device, &service).await];
    tasks.push(submit(&service, raw(vec![vec![1]])).await);
    assert_eq!(service.shutdown(Duration::ZERO).await, Drained::Cut(2));
    for task in tasks {
        let answer = task.await.unwrap();
        assert!(matches!(answer, Err(ServiceError::ShuttingDown)));
    }
    device.open_gate();
    device.wait_dropped(1);
    assert_eq!(device.batches(), [vec![vec![900]]]);
}

#[tokio::test]
async fn the_last_handle_ends_the_service() {
    let device = Device::new();
    let service = service(&device, ServiceOptions::default());
    let other = service.clone();
    drop(service);
    other.embed(raw(vec![vec![1]])).await.unwrap();
    drop(other);
    device.wait_dropped(1);
}

#[test]
fn health_info_and_refusals_do_not_wait_behind_the_device_nor_need_a_runtime() {
    let device = Device::new();
    let service = service(&device, ServiceOptions::default().alias("other name"));
    device.shut_gate();
    // The executor here is a loop that parks its thread.
    std::thread::scope(|scope| {
        let answer = scope.spawn(|| block_on(service.embed(raw(vec![vec![7]]))));
        device.wait_begun(1);
        assert!(matches!(service.health(), Health::Ready));
        service.ready().unwrap();
        let info = service.info().unwrap();
        assert!(info.answers_to("tiny") && info.answers_to("other name"));
        assert!(!info.answers_to("Tiny") && !info.answers_to(""));
        assert_eq!(service.stats().accepted_inputs, 1);
        assert!(block_on(service.embed(raw(vec![]))).is_err());
        device.open_gate();
        let answer = answer.join().unwrap().unwrap();
        assert_eq!(answer.embeddings.data(), row(&[7], *HIDDEN));
        assert_eq!(answer.fingerprint, info.space.fingerprint());
    });
}
