//! What must be at hand before an apply touches anything: images, and what services are handed. An image or a secret that
//! is not there must not cost a running service.

use std::collections::BTreeMap;

use windflow_core::ServiceName;
use windflow_core::target::{Context, Service, Stack, TargetError, TargetErrorKind};

use super::handed::{Handed, handed};
use super::look::Seen;
use super::meaning::Meaning;
use super::rollout::{count, is_right, wanted};
use super::target::DockerTarget;
use super::{called, parts};
use crate::engine::{ensure, local};

/// What is at hand before anything is touched.
pub(super) struct Prepared {
    pub meaning: Meaning,
    pub handed: BTreeMap<ServiceName, Handed>,
}

impl DockerTarget {
    /// Has the images be there, and resolves what is handed to services of which containers are made.
    pub(super) async fn prepare(
        &self,
        cx: &Context,
        stack: &Stack,
        meaning: Meaning,
        seen: &Seen,
    ) -> Result<Prepared, TargetError> {
        if let Some((path, why)) =
            parts::problems(&self.engine, &self.config.owner, stack, seen).await?.into_iter().next()
        {
            let problem = TargetError::new(&self.config.name, TargetErrorKind::Refused, format_args!("{path}: {why}"));
            return Err(problem.in_stack(&stack.name));
        }
        let mut ready = Prepared { meaning, handed: BTreeMap::new() };
        // A name that leads to another image once it was fetched may concern a service that was looked at before.
        while let Some((name, service)) = self.lacking(cx, stack, &ready, seen) {
            if let Some(why) = called::in_the_way(&self.engine, &self.config.owner, stack, seen, &service).await? {
                let what = format!("{}: {why}", called::path(name));
                let taken = TargetError::new(&self.config.name, TargetErrorKind::Conflict, what);
                let taken = taken.in_stack(&stack.name).in_service(name);
                return Err(taken.with_hint("remove that one, or choose another name; nothing was changed"));
            }
            if let Some(image) = service.image.as_deref()
                && !self.has_image_of_before(&ready.meaning, name).await?
            {
                let (policy, platform) = (service.pull_policy.as_deref(), service.platform.as_deref());
                let ensured = ensure(&self.engine, cx, &self.config.logins, image, policy, platform).await;
                let image = ensured.map_err(|error| {
                    let hint = error.hint.clone().unwrap_or_else(|| "nothing was changed".to_owned());
                    error.in_stack(&stack.name).in_service(name).with_hint(hint)
                })?;
                ready.meaning.leads_to(stack, &service, &image);
            }
            let handed = handed(&self.config.name, &ready.meaning, stack, name, &service)?;
            ready.handed.insert(name.clone(), handed);
        }
        Ok(ready)
    }

    /// The next service of which containers will be made, and that has nothing at hand yet.
    fn lacking<'a>(
        &self,
        cx: &Context,
        stack: &'a Stack,
        ready: &Prepared,
        seen: &Seen,
    ) -> Option<(&'a ServiceName, Service)> {
        let probe = self.work(cx, stack, &ready.meaning, BTreeMap::new(), false);
        let lacks = |name: &ServiceName, service: &Service| {
            let right = seen.of(name).filter(|found| is_right(&probe, seen, found, service)).count();
            u32::try_from(right).unwrap_or(u32::MAX) < count(service)
        };
        let open = stack.services.iter().filter(|(name, _)| !ready.handed.contains_key(*name));
        open.map(|(name, service)| (name, wanted(seen, stack, name, service)))
            .find(|(name, service)| lacks(name, service))
    }

    /// Whether one goes back, and the image that ran is still there: then none is fetched, and its name does not matter.
    async fn has_image_of_before(&self, meaning: &Meaning, name: &ServiceName) -> Result<bool, TargetError> {
        match meaning.images.get(name).filter(|_| meaning.is_before) {
            Some(ran) => Ok(local(&self.engine, &ran.id, None).await?.is_some()),
            None => Ok(false),
        }
    }
}
