//! One session of ONNX Runtime over a graph that was built in memory.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use ort::editor::Model;
use ort::logging::LogLevel;
use ort::session::builder::{AutoDevicePolicy, GraphOptimizationLevel, SessionBuilder};
use ort::session::{
    HasSelectedOutputs, OutputSelector, RunOptions, SessionInputValue, SessionOutputs,
};

use super::array::StoredArray;
use super::failed;
use super::library::Library;
use super::operators;
use super::ops::{self, Built};
use super::providers::Provider;
use super::threads::{Threads, Waiting};
use crate::error::Result;

/// What a run is given, by name.
pub(super) type Inputs<'a> = Vec<(Cow<'a, str>, SessionInputValue<'a>)>;

/// Up to so many tokens a run leaves its memory to the next one, which need not ask the system for it
/// anew: for 512 tokens of the 0.6B, 50 MB.
const KEPT_TOKENS: usize = 512;

/// A loaded graph and what each run of it needs.
pub(super) struct Session {
    session: ort::session::Session,
    weights: BTreeMap<String, Arc<StoredArray>>,
    keep: RunOptions<HasSelectedOutputs>,
    give_back: RunOptions<HasSelectedOutputs>,
}

impl Session {
    pub(super) fn new(
        library: &Library,
        built: Built,
        provider: &Provider,
        threads: &Threads,
    ) -> Result<Self> {
        let Built {
            model,
            weights,
            groups,
            own_operators,
            outputs,
        } = built;
        let options = || -> ort::Result<_> {
            let keep = run_options(Freed::Kept)?.with_outputs(selected(&outputs));
            let give_back = run_options(Freed::GivenBack)?.with_outputs(selected(&outputs));
            let options = self::options(library, provider, threads)?;
            let options = match own_operators {
                true => options.with_operators(operators::domain(groups, threads.count)?)?,
                false => options,
            };
            Ok((options, keep, give_back))
        };
        let (options, keep, give_back) = options().map_err(|error| failed("load", error))?;
        let session = provider.session(options, |options| match own_operators {
            true => of_own_operators(options, &model),
            false => model.into_session(&options),
        });
        Ok(Self {
            session: session.map_err(|error| failed("load", error))?,
            weights,
            keep,
            give_back,
        })
    }

    /// Runs `tokens` tokens.
    pub(super) fn run<'a>(
        &'a mut self,
        mut inputs: Inputs<'a>,
        tokens: usize,
    ) -> Result<SessionOutputs<'a>> {
        let weights = self.weights.iter();
        inputs
            .extend(weights.map(|(name, array)| (name.as_str().into(), array.as_tensor().into())));
        let options = match tokens {
            ..=KEPT_TOKENS => &self.keep,
            _ => &self.give_back,
        };
        let outputs = self.session.run_with_options(inputs, options);
        outputs.map_err(|error| failed("run", error))
    }
}

/// What a run gives. A session that a graph was added to does not know by itself.
fn selected(outputs: &[String]) -> OutputSelector {
    let none = OutputSelector::no_default();
    outputs.iter().fold(none, OutputSelector::with)
}

/// A session whose graph has operators of our own.
fn of_own_operators(
    mut options: SessionBuilder,
    model: &Model,
) -> ort::Result<ort::session::Session> {
    /// ONNX Runtime keeps one list of domains of operators for the process, and fails where two
    /// threads find that it lacks the same one.
    static NAMING: Mutex<()> = Mutex::new(());

    let naming = NAMING.lock().unwrap_or_else(PoisonError::into_inner);
    // Only a session that begins with a file knows operators that are not ONNX Runtime's.
    let mut session = options.edit_from_memory(&ops::nothing())?;
    drop(naming);
    session.apply_model(model)?;
    session.into_session()
}

/// What becomes of the memory of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Freed {
    Kept,
    GivenBack,
}

/// Of every run, whatever the graph.
pub(super) fn run_options(freed: Freed) -> ort::Result<RunOptions> {
    let mut options = RunOptions::new()?;
    if freed == Freed::GivenBack {
        // The arena never gives memory back by itself.
        options.set("memory.enable_memory_arena_shrinkage", "cpu:0")?;
    }
    // A session on an accelerator is made with a finer log than its runs need.
    options.set_log_level(LogLevel::Warning)?;
    Ok(options)
}

/// Of every session, whatever its graph.
pub(super) fn options(
    library: &Library,
    provider: &Provider,
    threads: &Threads,
) -> ort::Result<SessionBuilder> {
    let options = provider
        .register(ort::session::Session::builder(&library.environment)?)?
        // `ort` would let ONNX Runtime look for an NPU.
        .with_auto_device(AutoDevicePolicy::PreferCPU)?
        .with_optimization_level(GraphOptimizationLevel::All)?
        // ONNX Runtime would keep a plan for every shape it has seen.
        .with_memory_pattern(false)?
        .with_intra_threads(threads.count)?
        .with_intra_op_spinning(threads.waiting == Waiting::Spin)?;
    let options = match threads.affinities() {
        Some(list) => options.with_config_entry("session.intra_op_thread_affinities", list)?,
        None => options,
    };
    Ok(match &provider.profile {
        Some(prefix) => options.with_profiling(profile_of_a_session(prefix))?,
        None => options,
    })
}

/// ONNX Runtime adds the time in seconds, in which a model makes several sessions.
fn profile_of_a_session(prefix: &Path) -> PathBuf {
    static SESSIONS: AtomicUsize = AtomicUsize::new(0);
    let number = SESSIONS.fetch_add(1, Ordering::Relaxed);
    let mut name = prefix.as_os_str().to_owned();
    name.push(format!("-{number}"));
    name.into()
}
