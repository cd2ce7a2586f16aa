//! Which stack on which target a direct command is about, and what such a call is told.

use std::path::Path;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use windflow_core::target::{Consents, Context, Stack, Target};
use windflow_core::{RunId, StackName, TargetName};

use super::args_stack::{ConsentArgs, FilesArgs, StackArgs, TargetArgs};
use crate::failure::Failure;
use crate::interrupt::{Interrupt, Wish};
use crate::render::text::clean;
use crate::stack_events::Change;
use crate::wire::Project;

/// A stack on a target, and a call about it.
#[derive(Debug)]
pub struct Place {
    /// The stack as the command names it.
    pub named: Named,
    /// Where it lives.
    pub target: Arc<dyn Target>,
    /// What the target is told.
    pub call: Call,
    /// Ctrl-C.
    pub interrupt: Interrupt,
}

impl Place {
    /// Finds out what a command is about. A bare name must be that of a stack that is there: a file says what it means
    /// whether it is deployed or not, and a mistyped name says nothing.
    pub async fn find(project: &Project, on: &StackArgs, consent: &ConsentArgs) -> Result<Self, Failure> {
        let named = Named::read(project, on)?;
        let (target, call) = (target(project, &on.target)?, Call::new(project, consent));
        let mut interrupt = Interrupt::listen()?;
        if let Named::Name(name) = &named {
            let listed = async { target.stacks(&call.cx).await.map_err(Failure::before) };
            let there = call.run(project, &mut interrupt, listed).await?;
            if !there.contains(name) && !keeps_something(&*target, &call, name).await {
                let owners = of_others(&*target, &call, name).await;
                return Err(missing(name, &*target, &there, &owners));
            }
        }
        Ok(Self { named, target, call, interrupt })
    }
}

/// Whether a target keeps something of a stack that is gone. Where that cannot be found out, the name is one that says nothing.
async fn keeps_something(target: &dyn Target, call: &Call, name: &StackName) -> bool {
    target.observe(&call.cx, name).await.is_ok_and(|observed| !observed.retained.is_empty())
}

/// Who else has a stack of this name on a target.
pub async fn of_others(target: &dyn Target, call: &Call, name: &StackName) -> Vec<String> {
    // Only worth a word: where it cannot be found out, nothing is said.
    let found = target.discover(&call.cx).await.unwrap_or_default();
    found.into_iter().filter(|found| found.name == *name).filter_map(|found| found.owner).collect()
}

fn missing(name: &StackName, target: &dyn Target, there: &[StackName], owners: &[String]) -> Failure {
    let names: Vec<&str> = there.iter().map(StackName::as_str).collect();
    let known = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
    let failure = Failure::usage(format_args!("there is no stack '{name}' on target '{}'", target.name()));
    if let Some(owner) = owners.first() {
        let hint = "to work on it, let windflow.yaml say so";
        return failure.hint(format!("owner '{owner}' has a stack of this name there: {hint}: `owner: {owner}`"));
    }
    failure.hint(format!("stacks there: {known}; a stack that is not deployed is named by its file"))
}

/// What a command says about a stack.
#[derive(Debug)]
pub enum Named {
    /// A file, read.
    File(Box<Stack>),
    /// The name of a stack that is there, or was.
    Name(StackName),
}

impl Named {
    /// Reads the file when it is one. A text that could be either is a file if there is one of that name.
    pub fn read(project: &Project, on: &StackArgs) -> Result<Self, Failure> {
        let text = on.stack.as_str();
        let path = Path::new(text);
        let there = project.process.working_dir.join(path);
        if !text.is_empty() && there.is_dir() && StackName::new(text).is_err() {
            let hint = "name the stack file in it, such as compose.yaml";
            return Err(Failure::usage(format_args!("'{text}' is a folder")).hint(hint));
        }
        let there = there.is_file();
        let looks = text.contains(['/', '\\']) || path.extension().is_some_and(|end| end == "yaml" || end == "yml");
        if there || looks {
            let document = project.stack(on.files.onto(path.into()))?;
            return Ok(Self::File(Box::new(document.stack().clone())));
        }
        if on.files != FilesArgs::default() {
            let hint = "--merge, --profile and --env-file say how files are read";
            return Err(Failure::usage(format_args!("'{text}' is no file")).hint(hint));
        }
        StackName::new(text)
            .map(Self::Name)
            .map_err(|error| Failure::usage(error).hint("name a stack file, or a stack that is deployed"))
    }

    /// The stack's name.
    pub fn name(&self) -> &StackName {
        match self {
            Self::File(stack) => &stack.name,
            Self::Name(name) => name,
        }
    }
}

/// The target that was named, or the only one.
pub fn target(project: &Project, args: &TargetArgs) -> Result<Arc<dyn Target>, Failure> {
    let targets = project.targets();
    let names = || targets.keys().map(|name| name.as_str()).collect::<Vec<_>>().join(", ");
    match &args.target {
        Some(name) => project.target_named(name).ok_or_else(|| match project.astray.get(name) {
            Some(why) => Failure::usage(format_args!("target '{name}': {why}")),
            None => {
                Failure::usage(format_args!("there is no target '{name}'")).hint(format!("known targets: {}", names()))
            }
        }),
        None if targets.len() == 1 => {
            targets.values().next().cloned().ok_or_else(|| Failure::usage("there is no target"))
        }
        None => Err(Failure::usage("which target?").hint(format!("--target NAME; known targets: {}", names()))),
    }
}

/// A direct call: under a key of its own, cancelled by Ctrl-C.
#[derive(Debug)]
pub struct Call {
    /// What the target is told.
    pub cx: Context,
    cancel: CancellationToken,
}

impl Call {
    /// A call with these consents.
    pub fn new(project: &Project, consent: &ConsentArgs) -> Self {
        let cancel = CancellationToken::new();
        let output = project.output.clone();
        let consents = consent.allow_destroy.iter().fold(Consents::none(), |all, what| all.allow_destroy(what));
        let cx = Context::new(format!("cli:{}", RunId::generate()))
            .with_secrets(project.secrets(), project.masker())
            .with_consents(consents)
            .with_cancel(cancel.clone())
            .with_progress(Arc::new(move |text| output.progress(&format!("  … {}", clean(text)))));
        Self { cx, cancel }
    }

    /// The change that this call makes, for whoever is told of such.
    pub fn change<'a>(
        &'a self,
        project: &'a Project,
        action: &'a str,
        target: &'a TargetName,
        stack: &'a StackName,
    ) -> Change<'a> {
        Change { events: project.events.as_ref(), action, key: self.cx.key(), target, stack }
    }

    /// Does a piece of work. The first Ctrl-C asks it to end in order, another one drops it, which equals a crash and
    /// is finished by the next apply.
    pub async fn run<T, E: Into<Failure>>(
        &self,
        project: &Project,
        interrupt: &mut Interrupt,
        work: impl Future<Output = Result<T, E>>,
    ) -> Result<T, Failure> {
        tokio::pin!(work);
        loop {
            tokio::select! {
                done = &mut work => return done.map_err(Into::into),
                wish = interrupt.wish() => match wish {
                    Wish::Cancel => {
                        project.output.progress("stopping in good order; Ctrl-C again stops at once");
                        self.cancel.cancel();
                    }
                    Wish::Leave => {
                        return Err(Failure::new(crate::exit::Exit::Cancelled, "stopped in the middle")
                            .hint("`windflow status` shows what is there; the same command again finishes it"));
                    }
                },
            }
        }
    }
}

/// Asks a person; without one, `--yes` must have been said. Ctrl-C says no.
pub async fn agreed(project: &Project, interrupt: &mut Interrupt, yes: bool, question: &str) -> Result<bool, Failure> {
    if yes {
        return Ok(true);
    }
    if !project.process.asks || project.output.json() {
        return Err(Failure::usage("nobody is there to agree").hint("add --yes to do it without being asked"));
    }
    project.output.ask(&format!("{question} [y/N] "));
    // A thread of its own: a person who thinks must not keep Ctrl-C from being heard.
    let answer = tokio::task::spawn_blocking(|| {
        let mut answer = String::new();
        std::io::stdin().read_line(&mut answer).map(|_| answer)
    });
    tokio::select! {
        answer = answer => match answer {
            Ok(Ok(answer)) => Ok(matches!(answer.trim(), "y" | "Y" | "yes")),
            Ok(Err(error)) => Err(Failure::failed(format_args!("no answer: {error}"))),
            Err(error) => Err(Failure::failed(format_args!("no answer: {error}"))),
        },
        _ = interrupt.wish() => {
            project.output.progress("");
            Ok(false)
        }
    }
}
