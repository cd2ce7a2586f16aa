//! The keys a document may have: read by the decoder, the messages and the schema alike.

/// A key that is known and refused, and what to tell: a message, and after `; ` a hint.
pub(crate) type Later = (&'static str, &'static str);

/// Keys of a workflow file.
pub(crate) const WORKFLOW: &[&str] =
    &["name", "description", "inputs", "on_failure", "max_parallel", "deadline", "nodes", "outputs"];
pub(crate) const WORKFLOW_LATER: &[Later] = &[
    ("on", "triggers are not offered yet; start the workflow with 'windflow run' or from your program"),
    ("triggers", "triggers are not offered yet; start the workflow with 'windflow run' or from your program"),
    ("schedule", "schedules are not offered yet; start the workflow with 'windflow run' or from your program"),
    ("jobs", "is not a key of a workflow; the work stands under 'nodes'"),
    ("steps", "is not a key of a workflow; the work stands under 'nodes', a map of named nodes"),
    ("tasks", "is not a key of a workflow; the work stands under 'nodes', a map of named nodes"),
    ("env", "is not a key of a workflow; give values as 'inputs' and read them as ${{ inputs.x }}"),
    ("services", "is not a key of a workflow; this looks like a stack: name it in the 'with.stack' of a deploy node"),
];

/// Keys of one input.
pub(crate) const INPUT: &[&str] = &["type", "description", "default", "enum"];
pub(crate) const INPUT_LATER: &[Later] =
    &[("required", "is not a key of an input; an input without 'default' must be given")];

/// Keys of one node.
pub(crate) const NODE: &[&str] = &[
    "uses",
    "description",
    "with",
    "needs",
    "if",
    "join",
    "retry",
    "timeout",
    "deadline",
    "on_unknown",
    "compensate",
    "for_each",
    "max_parallel",
    "on_item_failure",
    "repeat",
    "nodes",
    "outputs",
    "on_failure",
    "switch",
    "cases",
    "default",
    "call",
];
pub(crate) const NODE_LATER: &[Later] = &[
    ("workflow", "is not a key of a node; write 'call: FILE'"),
    ("steps", "is not a key of a node; nodes within it stand under 'nodes', a map of named nodes"),
    ("run", "is not a key of a node; write 'uses: shell' and give the command in 'with'"),
    ("depends_on", "is not a key of a node; write 'needs'"),
    ("action", "is not a key of a node; write 'uses'"),
    ("type", "is not a key of a node; write 'uses'"),
    ("when", "is not a key of a node; write 'if'"),
    ("env", "is not a key of a node; an action's environment, if it takes one, stands in its 'with'"),
    ("retries", "is not a key of a node; write 'retry: 3' or 'retry: { max_attempts: 3 }'"),
];

/// Keys of `repeat`.
pub(crate) const REPEAT: &[&str] = &["until", "max", "every"];

/// Keys of one case of a `switch`.
pub(crate) const CASE: &[&str] = &["nodes", "outputs", "on_failure"];

/// Keys of `retry`.
pub(crate) const RETRY: &[&str] = &["max_attempts", "initial", "factor", "cap", "on"];

/// Keys of `compensate`.
pub(crate) const COMPENSATE: &[&str] = &["uses", "with", "retry"];
