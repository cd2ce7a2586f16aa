//! One node of a workflow file.

use windflow_core::workflow::{Compensate, Join, NodeSpec, OnUnknown, Piece, Retry, pieces};
use windflow_core::{ActionName, ErrorClass, NodeName};

use super::block;
use crate::document::decode::{At, Fields};
use crate::document::diagnostic::Problems;
use crate::document::keys;

pub(super) const JOINS: [(&str, Join); 2] = [("all", Join::All), ("any", Join::Any)];
pub(super) const ON_UNKNOWN: [(&str, OnUnknown); 2] = [("stuck", OnUnknown::Stuck), ("retry", OnUnknown::Retry)];
pub(super) const CLASSES: [(&str, ErrorClass); 2] =
    [("retryable", ErrorClass::Retryable), ("unknown", ErrorClass::Unknown)];

/// A node; what is wrong in it is left out, so that the rest can be checked.
pub(super) fn node(name: NodeName, at: &At<'_>, problems: &mut Problems) -> Option<NodeSpec> {
    let fields = at.fields(problems, "a node", keys::NODE, keys::NODE_LATER)?;
    if let Some(at) = fields.get("description") {
        at.text(problems);
    }
    let mut spec = match block::holds(at.node) {
        true => block::holding(name, &fields, problems)?,
        false => {
            block::refuse(&fields, block::OF_BLOCKS, "a node that performs an action once", problems);
            acting(name, &fields, problems)?
        }
    };
    if let Some(at) = fields.get("needs").filter(|at| !at.is_null()) {
        spec.needs = at.one_or_many().iter().filter_map(|at| at.name(problems, NodeName::new)).collect();
    }
    spec.when = fields.get("if").and_then(|at| condition(at, problems));
    if let Some(join) = fields.get("join").and_then(|at| at.choice(problems, &JOINS)) {
        spec.join = join;
    }
    spec.deadline = fields.get("deadline").and_then(|at| at.duration(problems));
    Some(spec)
}

/// What a node does that performs an action: which, with what, and how it is tried again and undone.
pub(super) fn acting(name: NodeName, fields: &Fields<'_>, problems: &mut Problems) -> Option<NodeSpec> {
    if fields.get("call").is_some() {
        return block::calling(name, fields, problems);
    }
    let uses = fields
        .need(problems, "uses", "name the action it performs, such as 'uses: shell'")
        .and_then(|at| at.name(problems, ActionName::new));
    // Known to be a name; it only stands in until the problem just noted is reported.
    let uses = uses.or_else(|| ActionName::new("_").ok())?;
    let mut spec = NodeSpec::new(name, uses);
    if let Some(at) = fields.get("with") {
        spec.with = at.node.to_value();
    }
    spec.retry = fields.get("retry").and_then(|at| retry(at, problems)).map(Box::new);
    spec.timeout = fields.get("timeout").and_then(|at| at.duration(problems));
    if let Some(on_unknown) = fields.get("on_unknown").and_then(|at| at.choice(problems, &ON_UNKNOWN)) {
        spec.on_unknown = on_unknown;
    }
    spec.compensate = fields.get("compensate").and_then(|at| compensate(at, problems)).map(Box::new);
    Some(spec)
}

/// `if:` with or without `${{ }}`: one expression.
pub(super) fn condition(at: &At<'_>, problems: &mut Problems) -> Option<String> {
    let Some(text) = at.raw() else { return at.expected(problems, "an expression such as ${{ inputs.x }}") };
    match pieces(text).as_deref() {
        Ok([Piece::Text(text) | Piece::Expression(text)]) => Some(text.trim().to_owned()),
        Ok(_) => {
            at.hinted(problems, "must be one expression", "write it all inside one ${{ … }}, or without any");
            None
        }
        Err(_) => {
            at.error(problems, "opens an expression that '}}' never closes");
            None
        }
    }
}

/// `retry: 3`, `retry: never`, or a map.
pub(super) fn retry(at: &At<'_>, problems: &mut Problems) -> Option<Retry> {
    const ATTEMPTS: (u64, u64) = (1, 1_000);
    let attempts = |at: &At<'_>, problems: &mut Problems| {
        at.whole(problems, ATTEMPTS.0, ATTEMPTS.1).and_then(|number| u32::try_from(number).ok())
    };
    match at.raw() {
        Some("never") => return Some(Retry::never()),
        Some(text) if text.bytes().all(|b| b.is_ascii_digit()) => return attempts(at, problems).map(Retry::attempts),
        Some(_) => return at.expected(problems, "a number of attempts, 'never' or a map"),
        None => {}
    }
    let fields = at.fields(problems, "retry", keys::RETRY, &[])?;
    let mut retry = Retry::default();
    if let Some(most) = fields.get("max_attempts").and_then(|at| attempts(at, problems)) {
        retry.max_attempts = most;
    }
    if let Some(initial) = fields.get("initial").and_then(|at| at.duration(problems)) {
        retry.initial = initial;
    }
    if let Some(factor) = fields.get("factor").and_then(|at| at.number(problems)) {
        retry.factor = factor;
    }
    if let Some(cap) = fields.get("cap").and_then(|at| at.duration(problems)) {
        retry.cap = cap;
    }
    if let Some(at) = fields.get("on") {
        retry.on = at.one_or_many().iter().filter_map(|at| at.choice(problems, &CLASSES)).collect();
    }
    Some(retry)
}

/// `compensate: nothing`, or a map with an action, or one with `retry` alone.
pub(super) fn compensate(at: &At<'_>, problems: &mut Problems) -> Option<Compensate> {
    match at.raw() {
        Some("nothing") => return Some(Compensate::Nothing),
        Some(text) => {
            let hint = match text {
                "none" | "no" | "false" | "never" | "off" => "write 'compensate: nothing'".to_owned(),
                _ => format!("to undo it with an action, write 'compensate: {{ uses: {text} }}'"),
            };
            at.hinted(problems, format_args!("must be 'nothing' or a map, not {}", at.node.describe()), hint);
            return None;
        }
        None => {}
    }
    let fields = at.fields(problems, "compensate", keys::COMPENSATE, &[])?;
    let retry = fields.get("retry").and_then(|at| retry(at, problems)).map(Box::new);
    let Some(uses) = fields.get("uses") else {
        if let (Some(with), Some(span)) = (fields.get("with"), fields.key_span("with")) {
            let hint = "name the action in 'uses'; the node's own compensation takes its input from the node";
            problems.hinted(span, &with.path, "has no action to give it to", Some(hint.to_owned()));
        } else if fields.get("retry").is_none() && !fields.is_meant("uses") {
            let hint = "name an action in 'uses', or write 'compensate: nothing'".to_owned();
            problems.hinted(fields.span, &fields.path, "says nothing", Some(hint));
        }
        return retry.map(|retry| Compensate::Own { retry });
    };
    let uses = uses.name(problems, ActionName::new)?;
    let with = fields.get("with").map(|at| at.node.to_value()).unwrap_or_default();
    Some(Compensate::Action { uses, with, retry })
}
