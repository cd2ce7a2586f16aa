//! A command run beside a service: in its folder and with its environment.

use std::collections::BTreeMap;
use std::path::PathBuf;

use windflow_core::target::{Context, EnvValue, Exec, ServiceRef, Session, TargetError, TargetErrorKind};

use super::HostTarget;
use super::state::StackSpec;
use super::transport::RunCommand;

impl HostTarget {
    pub(super) async fn run_beside(
        &self,
        cx: &Context,
        of: &ServiceRef,
        command: Exec,
    ) -> Result<Session, TargetError> {
        let stack = &of.stack;
        let missing = |what: String| self.error(stack, TargetErrorKind::NotFound, what);
        if command.tty {
            return Err(TargetError::unsupported(&self.config.name, "terminals")
                .in_stack(stack)
                .with_hint("run it without a terminal"));
        }
        let dir = self.dir(stack);
        let spec = self.machine.read(&dir.spec()).await.map_err(self.failed(stack))?;
        let spec: Option<StackSpec> = spec.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        let spec = spec.ok_or_else(|| missing("the stack is not deployed here".to_owned()))?;
        let service = match &of.service {
            Some(service) => service.clone(),
            None if spec.services.len() == 1 => {
                spec.services.keys().next().cloned().ok_or_else(|| missing("the stack has no service".to_owned()))?
            }
            None => {
                return Err(self.error(stack, TargetErrorKind::Refused, "it must be said which service is meant"));
            }
        };
        let instance = of.instance.unwrap_or(0);
        let run = spec.services.get(&service).filter(|run| instance < run.replicas);
        let run = run.ok_or_else(|| missing(format!("there is no service '{service}' with an instance {instance}")))?;
        let mut environment = BTreeMap::from([
            ("PATH".to_owned(), run.path.clone()),
            ("WINDFLOW_STACK".to_owned(), stack.to_string()),
            ("WINDFLOW_SERVICE".to_owned(), service.to_string()),
            ("WINDFLOW_REPLICA".to_owned(), instance.to_string()),
        ]);
        for (name, value) in &run.environment {
            if let EnvValue::Plain(text) = value {
                environment.insert(name.clone(), text.clone());
            }
        }
        environment.extend(self.secrets_of(cx, stack, &service, run).await?);
        environment.extend(command.environment);
        let mut argv = command.argv;
        let Some(program) = argv.first_mut() else {
            return Err(self.error(stack, TargetErrorKind::Refused, "no command is given").in_service(&service));
        };
        let folders = run.path.split(':').map(PathBuf::from).collect();
        let found = self.machine.find_program(program, folders).await.map_err(self.failed(stack))?;
        let found = found.ok_or_else(|| missing(format!("there is no program '{program}'")).in_service(&service))?;
        *program = found.to_string_lossy().into_owned();
        let work = dir.instance(&service, instance).work();
        let dir = run.working_dir.as_ref().map_or(work, PathBuf::from);
        let target = self.config.name.clone();
        let command = RunCommand { argv, dir, environment, stdin: command.stdin, target };
        self.machine.run(command).await.map_err(|error| {
            self.error(stack, TargetErrorKind::Refused, format_args!("the command cannot be run: {error}"))
                .in_service(&service)
        })
    }
}
