//! `adopt`: takes over what runs and is not ours.

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::{Value, json};
use windflow_core::target::{Consents, Desired, Discovered, Revision, Stack};
use windflow_core::{
    Action, Guarantee, Outcome, Reversal, Seen, StackName, StepContext, StepError, TargetName, Undone,
};

use super::deploy::{check_keys, check_stack};
use super::input::{Problems, field, read, text};

/// Takes over what runs on a target and is not ours, without touching it.
///
/// ```yaml
/// nodes:
///   ours:
///     uses: adopt
///     with:
///       target: engine
///       stack: compose.yaml      # what it is from now on
///       found: shop              # under which name it was discovered; the stack's own unless written
///       owner: somebody          # whose it was, when several are called so
/// ```
///
/// Output: `target`, `stack`, `revision`, `found`, `owner`. It cannot be undone: a target that has taken something over
/// cannot give it back.
#[derive(Debug, Clone, Copy, Default)]
pub struct AdoptAction;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Input {
    stack: Stack,
    target: TargetName,
    found: Option<StackName>,
    owner: Option<String>,
}

impl Input {
    fn found(&self) -> &StackName {
        self.found.as_ref().unwrap_or(&self.stack.name)
    }

    fn output(&self, revision: &Revision, owner: Option<&String>) -> Value {
        json!({
            "target": self.target,
            "stack": self.stack.name,
            "revision": revision.number,
            "found": self.found(),
            "owner": owner.or(self.owner.as_ref()),
        })
    }

    /// The one thing that is meant.
    fn pick(&self, found: Vec<Discovered>) -> Result<Discovered, StepError> {
        let there: Vec<String> = found.iter().map(shown).collect();
        let is_meant = |found: &Discovered| {
            found.name == *self.found() && self.owner.as_ref().is_none_or(|owner| found.owner.as_ref() == Some(owner))
        };
        let mut meant: Vec<Discovered> = found.into_iter().filter(is_meant).collect();
        let there = if there.is_empty() { "nothing".to_owned() } else { there.join(", ") };
        match (meant.pop(), meant.is_empty()) {
            (Some(one), true) => Ok(one),
            (None, _) => {
                let what = format_args!("{} runs nothing called '{}' that is not ours", self.target, self.found());
                Err(StepError::terminal("adopt.not_found", what).with_hint(format!("found there: {there}")))
            }
            (Some(_), false) => {
                let what = format_args!("{} runs several things called '{}'", self.target, self.found());
                Err(StepError::terminal("adopt.ambiguous", what)
                    .with_hint(format!("say whose it is with 'owner'; found there: {there}")))
            }
        }
    }
}

fn shown(found: &Discovered) -> String {
    match &found.owner {
        Some(owner) => format!("{} of {owner}", found.name),
        None => found.name.to_string(),
    }
}

#[async_trait]
impl Action for AdoptAction {
    fn guarantee(&self, _input: &Value) -> Guarantee {
        Guarantee::Keyed
    }

    fn reversal(&self) -> Reversal {
        Reversal::None
    }

    fn check(&self, input: &Value) -> Problems {
        let mut problems = check_keys(input, &[], &["found", "owner"], check_stack);
        if let Some(map) = input.as_object() {
            field(map, "found", &mut problems, |value| {
                StackName::new(text(value)?).map(drop).map_err(|error| error.to_string())
            });
            field(map, "owner", &mut problems, |value| text(value).map(drop));
        }
        problems
    }

    async fn perform(&self, cx: &StepContext, input: Value) -> Result<Outcome, StepError> {
        if let Seen::Happened(output) = self.observe(cx, &input).await? {
            return Ok(Outcome::Done(output));
        }
        let input: Input = read(input)?;
        let target = cx.target(&input.target)?;
        let tcx = cx.target_context(Consents::none());
        let found = input.pick(target.discover(&tcx).await?)?;
        cx.progress(&format!("{}: taking over {}", input.target, shown(&found)));
        let revision = target.adopt(&tcx, &found, &Desired::Present(input.stack.clone())).await?;
        Ok(Outcome::Done(input.output(&revision, found.owner.as_ref())))
    }

    async fn observe(&self, cx: &StepContext, input: &Value) -> Result<Seen, StepError> {
        let input: Input = read(input.clone())?;
        let tcx = cx.target_context(Consents::none());
        let observed = cx.target(&input.target)?.observe(&tcx, &input.stack.name).await?;
        let ours = observed
            .current
            .filter(|current| current.adopted && current.key == tcx.key() && current.hash == input.stack.hash());
        Ok(match ours {
            Some(revision) => Seen::Happened(input.output(&revision, None)),
            None => Seen::DidNot,
        })
    }

    async fn compensate(&self, _: &StepContext, _: &Value, _: Option<&Value>) -> Result<Undone, StepError> {
        Ok(Undone::NotUndoable { why: "what was taken over cannot be given back; it runs as before".to_owned() })
    }
}
