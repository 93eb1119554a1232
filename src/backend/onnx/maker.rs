//! Makes the sessions of a model.

use super::graph::{self, Form, Span};
use super::library::Library;
use super::providers::Provider;
use super::session::Session;
use super::threads::Threads;
use super::weights::Weights;
use crate::config::ModelConfig;
use crate::error::Result;

/// What all sessions of one model have in common.
#[derive(Clone, Copy)]
pub(super) struct Maker<'a> {
    pub(super) library: &'static Library,
    pub(super) config: &'a ModelConfig,
    pub(super) provider: &'a Provider,
    pub(super) threads: &'a Threads,
}

impl Maker<'_> {
    /// One session, of the layers of `span`.
    pub(super) fn session(
        &self,
        weights: &mut dyn Weights,
        form: Form,
        span: &Span,
    ) -> Result<Session> {
        let graph = graph::qwen3(weights, self.config, form, span)?;
        Session::new(self.library, graph, self.provider, self.threads)
    }
}
