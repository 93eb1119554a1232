//! An ONNX file from outside to inside: what it takes and gives, and that nothing in it is hostile.

use std::collections::{BTreeMap, BTreeSet};

use super::declared::{Declared, declared};
use super::functions::{self, Body, Key};
use super::tensor::{self, External};
use super::wire::{Fields, once, text_of};
use crate::json;

/// Graphs within graphs; real files have two or three levels.
const MAX_DEPTH: usize = 8;

/// Operators of the standard and those that ONNX Runtime brings. A library that would bring others
/// is code, and is never loaded.
const DOMAINS: [&str; 3] = ["", "ai.onnx", "com.microsoft"];

/// Operators that may run for ever: how often is in their data.
const LOOPS: [&str; 2] = ["Loop", "Scan"];

/// What a file holds.
#[derive(Debug, Default)]
pub(super) struct Contents {
    pub(super) inputs: Vec<Declared>,
    pub(super) outputs: Vec<Declared>,
    pub(super) external: Vec<External>,
    /// Bytes of all tensors, by type.
    pub(super) bytes: BTreeMap<u64, u64>,
}

/// Reads a ModelProto and checks every tensor and node in it, at any depth.
pub(super) fn parse(file: &[u8]) -> Result<Contents, String> {
    let mut graph = None;
    let mut functions = Vec::new();
    for field in Fields::of(file) {
        match field? {
            (7, value) => once(&mut graph, value.bytes()?, "the graph")?,
            (20, _) => return Err("it is made for training".to_owned()),
            (25, value) => functions.push(value.bytes()?),
            _ => {}
        }
    }
    let mut walk = Walk::default();
    for &function in &functions {
        walk.functions
            .insert(key_of(function, [10, 1])?, Body::default());
    }
    for function in functions {
        walk.function(function)?;
        let body = std::mem::take(&mut walk.body);
        walk.functions.insert(key_of(function, [10, 1])?, body);
    }
    walk.graph(graph.ok_or("it has no graph")?, 0)?;
    functions::check(&walk.body, &walk.functions)?;
    Ok(walk.contents)
}

#[derive(Default)]
struct Walk<'a> {
    contents: Contents,
    /// Those that the file itself defines.
    functions: BTreeMap<Key<'a>, Body<'a>>,
    /// Of the function or graph that is being read.
    body: Body<'a>,
}

impl<'a> Walk<'a> {
    fn graph(&mut self, message: &'a [u8], depth: usize) -> Result<(), String> {
        if depth > MAX_DEPTH {
            return Err(format!("graphs are nested more than {MAX_DEPTH} deep"));
        }
        let (mut inputs, mut outputs) = (Vec::new(), Vec::new());
        let mut stored = BTreeSet::new();
        for field in Fields::of(message) {
            match field? {
                (1, value) => self.node(value.bytes()?, depth)?,
                (5, value) => {
                    stored.insert(text_of(value.bytes()?, 8)?);
                    self.tensor(value.bytes()?)?;
                }
                (11, value) => inputs.push(declared(value.bytes()?)?),
                (12, value) => outputs.push(declared(value.bytes()?)?),
                (15, value) => self.sparse(value.bytes()?)?,
                _ => {}
            }
        }
        if depth == 0 {
            // Older files list what they store among the inputs, as defaults.
            inputs.retain(|input: &Declared| !stored.contains(input.name.as_str()));
            (self.contents.inputs, self.contents.outputs) = (inputs, outputs);
        }
        Ok(())
    }

    fn function(&mut self, message: &'a [u8]) -> Result<(), String> {
        for field in Fields::of(message) {
            match field? {
                (7, value) => self.node(value.bytes()?, 1)?,
                (11, value) => self.attribute(value.bytes()?, 1)?,
                _ => {}
            }
        }
        Ok(())
    }

    fn node(&mut self, message: &'a [u8], depth: usize) -> Result<(), String> {
        let (domain, operator) = key_of(message, [7, 4])?;
        self.body.nodes += 1;
        if self.functions.contains_key(&(domain, operator)) {
            self.body.calls.push((domain, operator));
        } else if !DOMAINS.contains(&domain) {
            let (operator, domain) = (json::shorten(operator), json::shorten(domain));
            return Err(format!(
                "operator {operator:?} is of the domain {domain:?}, which would need a library of its own"
            ));
        }
        if LOOPS.contains(&operator) {
            return Err(format!("operator {operator} may never end"));
        }
        for field in Fields::of(message) {
            if let (5, value) = field? {
                self.attribute(value.bytes()?, depth)?;
            }
        }
        Ok(())
    }

    fn attribute(&mut self, message: &'a [u8], depth: usize) -> Result<(), String> {
        let [mut tensor, mut graph, mut sparse] = [None; 3];
        for field in Fields::of(message) {
            match field? {
                (5, value) => once(&mut tensor, value.bytes()?, "an attribute's tensor")?,
                (6, value) => once(&mut graph, value.bytes()?, "an attribute's graph")?,
                (22, value) => once(&mut sparse, value.bytes()?, "an attribute's tensor")?,
                (10, value) => self.tensor(value.bytes()?)?,
                (11, value) => self.graph(value.bytes()?, depth + 1)?,
                (23, value) => self.sparse(value.bytes()?)?,
                _ => {}
            }
        }
        tensor.map_or(Ok(()), |tensor| self.tensor(tensor))?;
        sparse.map_or(Ok(()), |sparse| self.sparse(sparse))?;
        graph.map_or(Ok(()), |graph| self.graph(graph, depth + 1))
    }

    fn sparse(&mut self, message: &[u8]) -> Result<(), String> {
        let [mut values, mut indices] = [None; 2];
        for field in Fields::of(message) {
            match field? {
                (1, value) => once(&mut values, value.bytes()?, "a sparse tensor's values")?,
                (2, value) => once(&mut indices, value.bytes()?, "a sparse tensor's indices")?,
                _ => {}
            }
        }
        for part in [values, indices].into_iter().flatten() {
            self.tensor(part)?;
        }
        Ok(())
    }

    fn tensor(&mut self, message: &[u8]) -> Result<(), String> {
        let stored = tensor::parse(message)?;
        *self.contents.bytes.entry(stored.data_type).or_default() += stored.bytes;
        self.contents.external.extend(stored.external);
        Ok(())
    }
}

/// The domain and name in these fields.
fn key_of(message: &[u8], [domain, name]: [u32; 2]) -> Result<Key<'_>, String> {
    Ok((text_of(message, domain)?, text_of(message, name)?))
}
