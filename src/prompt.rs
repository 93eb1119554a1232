//! What stands before a text: instructions of queries, named prompts of the model.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

use crate::error::{Error, Result};
use crate::json;

/// The task of the model card, for checkpoints that declare no `query` prompt.
pub const DEFAULT_TASK: &str =
    "Given a web search query, retrieve relevant passages that answer the query";

/// What models call the prompt of documents; the first that is declared is taken.
const DOCUMENTS: [&str; 3] = ["document", "passage", "corpus"];

/// The role of a text, which decides what is put before it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Prompt {
    /// A passage to be found: the model's `document` (or `passage`, or `corpus`) prompt, else its
    /// default prompt. Qwen3 has neither, so the bare text.
    #[default]
    Document,
    /// A question: the model's `query` prompt, else [`Prompt::Task`] with [`DEFAULT_TASK`]; for a
    /// model other than Qwen3, else its default prompt or the bare text.
    Query,
    /// A question for a task of the caller's: `Instruct: {task}\nQuery:{text}`, with no space
    /// after `Query:`. An error for a model other than Qwen3.
    Task(String),
    /// A prompt that the model declares in `config_sentence_transformers.json`.
    Named(String),
}

/// How a model is told what a query is for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Instructions {
    /// As Qwen3-Embedding was trained: `Instruct: {task}\nQuery:{text}`.
    #[default]
    Qwen3,
    /// By the prompts that the model declares, and by no others.
    Declared,
}

/// The prompts that a model declares.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Prompts {
    instructions: Instructions,
    declared: BTreeMap<String, String>,
    default: Option<String>,
}

impl Prompts {
    /// Reads `config_sentence_transformers.json`; a model without the file declares none.
    pub(crate) fn from_dir(dir: &Path, instructions: Instructions) -> Result<Self> {
        let path = dir.join("config_sentence_transformers.json");
        let prompts = match json::read_optional(&path, "the model's prompts")? {
            None => Self::default(),
            Some(text) => Self::parse(&path, &text)?,
        };
        Ok(Self {
            instructions,
            ..prompts
        })
    }

    fn parse(path: &Path, text: &str) -> Result<Self> {
        let object = json::parse_object(path, text)?;
        let mut prompts = Self::default();
        match object.get("prompts") {
            None | Some(Value::Null) => {}
            Some(Value::Object(declared)) => {
                for (name, prompt) in declared {
                    let prompt = prompt.as_str().or(prompt.is_null().then_some(""));
                    let prompt = prompt.ok_or_else(|| {
                        json::invalid(path, format!("prompts: {name:?} is not a text"))
                    })?;
                    prompts.declared.insert(name.clone(), prompt.to_owned());
                }
            }
            Some(other) => {
                let reason = format!("prompts: expected an object, found {}", json::shown(other));
                return Err(json::invalid(path, reason));
            }
        }
        if let Some(name) = object.get("default_prompt_name").and_then(Value::as_str) {
            prompts.default = Some(prompts.named(name)?.to_owned());
        }
        Ok(prompts)
    }

    /// What `prompt` puts before a text.
    pub(crate) fn prefix(&self, prompt: &Prompt) -> Result<Cow<'_, str>> {
        let declared = |name: &str| self.declared.get(name).map(String::as_str);
        match prompt {
            Prompt::Document => {
                let named = DOCUMENTS.iter().find_map(|name| declared(name));
                let prefix = named.or(self.default.as_deref());
                Ok(prefix.unwrap_or_default().into())
            }
            Prompt::Query => match (declared("query"), self.instructions) {
                (Some(prefix), _) => Ok(prefix.into()),
                (None, Instructions::Qwen3) => Ok(task(DEFAULT_TASK).into()),
                (None, Instructions::Declared) => {
                    Ok(self.default.as_deref().unwrap_or_default().into())
                }
            },
            Prompt::Task(text) if self.instructions == Instructions::Qwen3 => Ok(task(text).into()),
            Prompt::Task(_) => Err(Error::Option {
                option: "prompt",
                expected: "one that the model declares, since it was not trained on instructions"
                    .to_owned(),
                found: "a task".to_owned(),
            }),
            Prompt::Named(name) => self.named(name).map(Cow::Borrowed),
        }
    }

    fn named(&self, name: &str) -> Result<&str> {
        let prompt = self.declared.get(name).map(String::as_str);
        prompt.ok_or_else(|| Error::UnknownPrompt {
            name: name.to_owned(),
            declared: self.declared.keys().cloned().collect(),
        })
    }
}

fn task(task: &str) -> String {
    format!("Instruct: {task}\nQuery:")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn declared(text: &str) -> Prompts {
        Prompts::parse(Path::new("p.json"), text).unwrap()
    }

    #[test]
    fn a_task_has_no_space_after_query() {
        let prompts = Prompts::default();
        let prefix = prompts.prefix(&Prompt::Task("Find it".into())).unwrap();
        assert_eq!(prefix, "Instruct: Find it\nQuery:");
    }

    #[test]
    fn a_model_without_prompts_gets_the_model_cards_query_and_bare_documents() {
        let prompts = Prompts::default();
        assert_eq!(prompts.prefix(&Prompt::Document).unwrap(), "");
        assert_eq!(
            prompts.prefix(&Prompt::Query).unwrap(),
            "Instruct: Given a web search query, retrieve relevant passages that answer the query\nQuery:"
        );
    }

    #[test]
    fn the_default_prompt_stands_before_documents_that_have_none_of_their_own() {
        let with = |prompts: &str| {
            declared(&format!(
                r#"{{"prompts": {prompts}, "default_prompt_name": "sts"}}"#
            ))
        };
        let prompts = with(r#"{"sts": "compare: "}"#);
        assert_eq!(prompts.prefix(&Prompt::Document).unwrap(), "compare: ");
        let prompts = with(r#"{"sts": "compare: ", "document": ""}"#);
        assert_eq!(prompts.prefix(&Prompt::Document).unwrap(), "");
    }

    #[test]
    fn a_file_that_declares_something_else_is_refused() {
        let error = |text: &str| {
            Prompts::parse(Path::new("p.json"), text)
                .unwrap_err()
                .to_string()
        };
        assert_eq!(
            error(r#"{"prompts": [1]}"#),
            "p.json: prompts: expected an object, found [1]"
        );
        assert_eq!(
            error(r#"{"prompts": {"query": 1}}"#),
            "p.json: prompts: \"query\" is not a text"
        );
        assert_eq!(
            error(r#"{"prompts": {}, "default_prompt_name": "sts"}"#),
            "prompt \"sts\" is not declared by the model; declared: "
        );
    }

    #[test]
    fn declared_prompts_win_and_an_unknown_name_lists_them() {
        let prompts = declared(r#"{"prompts": {"query": "query: ", "document": "passage: "}}"#);
        assert_eq!(prompts.prefix(&Prompt::Query).unwrap(), "query: ");
        assert_eq!(prompts.prefix(&Prompt::Document).unwrap(), "passage: ");
        assert_eq!(
            prompts
                .prefix(&Prompt::Named("sts".into()))
                .unwrap_err()
                .to_string(),
            "prompt \"sts\" is not declared by the model; declared: document, query"
        );
    }
}
