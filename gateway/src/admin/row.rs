//! A row of the table of routes: everything that is said about a call, in one place.
//!
//! The router, the roles, the audit log, the OpenAPI document and the test of every call with every role are made from it.

use axum::http::Method;
use axum::routing::MethodRouter;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use std::sync::Arc;

use super::Admin;
use super::access::Right;
use crate::settings::{Table, TableDescription};

/// What a call does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    /// Tells states, numbers and settings.
    Reads,
    /// Tells names of files.
    Browses,
    /// Hands contents of files out.
    Takes,
    /// Changes something, and destroys nothing.
    Changes,
    /// Something is gone afterwards, or hard to get back.
    Destroys,
    /// Changes what the gateway is, or who may do what.
    Administers,
    /// Tells the audit log.
    Audits,
    /// Is about the caller's own session.
    Own,
    /// Begins a session: nobody is known before.
    Begins,
}

impl Effect {
    /// The right that it needs; none: a caller who is known has it.
    pub(super) const fn right(self) -> Option<Right> {
        match self {
            Self::Reads => Some(Right::Read),
            Self::Browses => Some(Right::Browse),
            Self::Takes | Self::Changes => Some(Right::Operate),
            Self::Destroys | Self::Administers => Some(Right::Administer),
            Self::Audits => Some(Right::Audit),
            Self::Own | Self::Begins => None,
        }
    }

    /// Whether it is recorded before it is carried out.
    pub(super) const fn is_recorded(self) -> bool {
        match self {
            Self::Takes | Self::Changes | Self::Destroys | Self::Administers | Self::Own | Self::Begins => {
                true
            }
            Self::Reads | Self::Browses | Self::Audits => false,
        }
    }

    /// As the OpenAPI document has it.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Reads => "reads",
            Self::Browses => "browses",
            Self::Takes => "takes",
            Self::Changes => "changes",
            Self::Destroys => "destroys",
            Self::Administers => "administers",
            Self::Audits => "audits",
            Self::Own => "own",
            Self::Begins => "begins",
        }
    }
}

/// What a call is about, for tokens of single shares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    /// The gateway, or more than one share: not for them.
    Whole,
    /// Everything that the caller may see: the answer has no more.
    Listed,
    /// The share `{share}`.
    Share,
    /// The share of the bucket `{bucket}`.
    Bucket,
    /// The share of the volume `{volume}`.
    Volume,
    /// The share of the job `{job}`.
    Job,
}

impl Reach {
    /// As the OpenAPI document has it.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Whole => "gateway",
            Self::Listed => "what the token is for",
            Self::Share | Self::Bucket | Self::Volume | Self::Job => "its share",
        }
    }
}

/// How data looks.
pub(super) type Shape = fn(&mut SchemaGenerator) -> Schema;

/// What a call takes.
#[derive(Clone, Copy)]
pub(super) enum Taken {
    Json(Shape),
    /// The keys of a table of the settings.
    Table(fn() -> TableDescription),
}

/// What a call answers when all went well.
#[derive(Clone, Copy)]
pub(super) enum Answered {
    /// 200, data.
    Data(Shape),
    /// 201, data about what was made.
    Made(Shape),
    /// 202, a job whose result is this.
    Job(Shape),
    /// 200, bytes.
    Bytes,
    /// 200, text.
    Text,
}

/// A row; see the head of this module.
pub(super) struct Row {
    pub(super) method: Method,
    pub(super) path: &'static str,
    pub(super) effect: Effect,
    pub(super) reach: Reach,
    /// One sentence.
    pub(super) about: &'static str,
    pub(super) query: Option<Shape>,
    pub(super) body: Option<Taken>,
    pub(super) answer: Answered,
    /// What makes it one that destroys.
    pub(super) destroys_with: Option<Said>,
    /// Whether what it says is left out of the audit log.
    pub(super) is_secret: bool,
    pub(super) handler: Handler,
}

/// A member of a body, and a value of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Said {
    member: &'static str,
    value: Value,
}

/// A value that a member may have.
#[derive(Clone, Copy, Debug)]
pub(super) enum Value {
    Yes,
    Word(&'static str),
}

impl Said {
    /// Whether a body says that, or says something there that only its handler understands, and does not ask for a dry run. One
    /// that cannot be read, or is no object, says nothing: its handler refuses it.
    pub(super) fn is_in(self, body: &[u8]) -> bool {
        let Ok(body) = serde_json::from_slice::<serde_json::Value>(body) else { return false };
        let is_it = |found: &serde_json::Value| match self.value {
            Value::Yes => found.as_bool() != Some(false),
            Value::Word(word) => found.as_str().is_none_or(|found| found == word),
        };
        let is_dry = body.get("dry_run").and_then(serde_json::Value::as_bool) == Some(true);
        !is_dry && body.get(self.member).is_some_and(is_it)
    }
}

/// What makes the handler of a row.
pub(super) type Handler = fn() -> MethodRouter<Arc<Admin>>;

impl Row {
    /// A row that answers `{}`, with what must be said of any.
    pub(super) fn new(
        (method, path): (Method, &'static str),
        (effect, reach): (Effect, Reach),
        about: &'static str,
        handler: Handler,
    ) -> Self {
        let answer = Answered::Data(shape_of::<()>);
        let (query, body, destroys_with, is_secret) = (None, None, None, false);
        Self { method, path, effect, reach, about, query, body, answer, destroys_with, is_secret, handler }
    }

    /// With parameters in the query.
    pub(super) fn asks<T: JsonSchema>(self) -> Self {
        Self { query: Some(shape_of::<T>), ..self }
    }

    /// With a body.
    pub(super) fn takes<T: JsonSchema>(self) -> Self {
        Self { body: Some(Taken::Json(shape_of::<T>)), ..self }
    }

    /// With the keys of a table as its body.
    pub(super) fn takes_table<T: Table>(self) -> Self {
        Self { body: Some(Taken::Table(T::describe)), ..self }
    }

    /// Answers data.
    pub(super) fn tells<T: JsonSchema>(self) -> Self {
        Self { answer: Answered::Data(shape_of::<T>), ..self }
    }

    /// Answers that something was made.
    pub(super) fn makes<T: JsonSchema>(self) -> Self {
        Self { answer: Answered::Made(shape_of::<T>), ..self }
    }

    /// Starts a job.
    pub(super) fn starts<T: JsonSchema>(self) -> Self {
        Self { answer: Answered::Job(shape_of::<T>), ..self }
    }

    /// Answers with something else than JSON.
    pub(super) fn hands(self, answer: Answered) -> Self {
        Self { answer, ..self }
    }

    /// Needs the right to destroy when its body says so.
    pub(super) fn destroys_with(self, member: &'static str, value: Value) -> Self {
        Self { destroys_with: Some(Said { member, value }), ..self }
    }

    /// What it says is secret.
    pub(super) fn in_secret(self) -> Self {
        Self { is_secret: true, ..self }
    }

    /// The names of its parameters in the path.
    pub(super) fn parameters(&self) -> impl Iterator<Item = &'static str> {
        self.path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
    }
}

fn shape_of<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<T>()
}
