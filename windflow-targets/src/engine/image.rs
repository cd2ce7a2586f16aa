//! Images: that they are there, and what they say.

use std::collections::HashMap;
use std::time::Duration;

use bollard::models::{CreateImageInfo, ImageConfig, ImageInspect};
use bollard::query_parameters::CreateImageOptionsBuilder;
use futures_util::StreamExt as _;
use windflow_core::target::{Context, RanImage, TargetError, TargetErrorKind};

use super::registry::{RegistryLogins, credentials};
use super::{Engine, parse_moment};

/// How long the engine may be silent while it fetches an image.
const PATIENCE: Duration = Duration::from_secs(300);

/// An image as the engine has it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Image {
    /// The engine's own name for it, which leads to no other.
    pub id: String,
    /// Under which registries have it.
    digests: Vec<String>,
    /// What its containers start with.
    pub config: ImageConfig,
}

impl Image {
    pub fn new(found: ImageInspect) -> Self {
        Self {
            id: found.id.unwrap_or_default(),
            digests: found.repo_digests.unwrap_or_default(),
            config: found.config.unwrap_or_default(),
        }
    }

    /// As a revision keeps it that ran it under this name.
    pub fn ran_as(&self, name: &str) -> RanImage {
        let repository = with_tag(name);
        let repository = repository.rsplit_once(['@', ':']).map_or(name, |(repository, _)| repository);
        let of_name = |digest: &&String| digest.split('@').next() == Some(repository);
        let digest = self.digests.iter().find(of_name).or(self.digests.first()).cloned();
        RanImage { id: self.id.clone(), digest }
    }
}

/// When an image is fetched.
enum Policy {
    Never,
    Missing,
    Always,
    Older(Duration),
}

/// Reads `pull_policy`.
///
/// # Errors
/// The words it may be.
fn policy(text: Option<&str>) -> Result<Policy, String> {
    const DAY: u64 = 24 * 60 * 60;
    match text {
        None | Some("missing" | "if_not_present") => Ok(Policy::Missing),
        Some("always") => Ok(Policy::Always),
        Some("never") => Ok(Policy::Never),
        Some("daily") => Ok(Policy::Older(Duration::from_secs(DAY))),
        Some("weekly") => Ok(Policy::Older(Duration::from_secs(7 * DAY))),
        Some("build") => Err("'build' needs a builder, and there is none here: name an image that is built".to_owned()),
        Some(other) => {
            let age = other.strip_prefix("every_").and_then(age);
            age.map(Policy::Older)
                .ok_or_else(|| format!("'{other}' is not one of missing, always, never, daily, weekly or every_12h"))
        }
    }
}

/// `12h`, `1d12h`, `90m`.
fn age(text: &str) -> Option<Duration> {
    let mut seconds: u64 = 0;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let count: u64 = rest.get(..digits)?.parse().ok()?;
        let unit = match rest.get(digits..=digits)? {
            "w" => 604_800,
            "d" => 86_400,
            "h" => 3_600,
            "m" => 60,
            "s" => 1,
            _ => return None,
        };
        seconds = seconds.checked_add(count.checked_mul(unit)?)?;
        rest = rest.get(digits + 1..)?;
    }
    (seconds > 0).then(|| Duration::from_secs(seconds))
}

/// What is wrong with a `pull_policy`.
pub(crate) fn policy_problem(text: Option<&str>) -> Option<String> {
    policy(text).err()
}

/// What a name leads to on the engine now; nothing is fetched.
pub(crate) async fn local(engine: &Engine, image: &str, platform: Option<&str>) -> Result<Option<Image>, TargetError> {
    let docker = engine.docker().await?;
    let here = engine.find(&format!("looking for the image {image}"), docker.inspect_image(image)).await?;
    Ok(here.filter(|here| platform.is_none_or(|wanted| runs_on(here, wanted))).map(Image::new))
}

/// Has the image be there as the policy says, and tells what it is. Touches nothing but images.
///
/// # Errors
/// The registry's or the engine's own reason.
pub(crate) async fn ensure(
    engine: &Engine,
    cx: &Context,
    logins: &RegistryLogins,
    image: &str,
    pull_policy: Option<&str>,
    platform: Option<&str>,
) -> Result<Image, TargetError> {
    let refused = |what: String| TargetError::new(engine.target(), TargetErrorKind::Refused, what);
    let policy = match policy(pull_policy).map_err(&refused)? {
        // Such a name leads to one image, and registries do not know it.
        _ if image.starts_with("sha256:") => Policy::Never,
        policy => policy,
    };
    let docker = engine.docker().await?;
    let looking = format!("looking for the image {image}");
    let here = engine.find(&looking, docker.inspect_image(image)).await?;
    let here = here.filter(|here| platform.is_none_or(|wanted| runs_on(here, wanted)));
    let wanted = match (&policy, &here) {
        (Policy::Never, None) => {
            let why = match image.starts_with("sha256:") {
                true => "no registry knows it by this name",
                false => "'pull_policy: never' forbids fetching it",
            };
            let what = format!("the image {image} is not there, and {why}");
            return Err(refused(what).with_hint("load it into the engine, or let it be fetched"));
        }
        (Policy::Always, _) | (_, None) => true,
        (Policy::Older(age), Some(here)) => {
            let tagged = here.metadata.as_ref().and_then(|metadata| metadata.last_tag_time.as_deref());
            tagged.and_then(parse_moment).is_none_or(|tagged| tagged.after(*age) < cx.clock().now())
        }
        (Policy::Never | Policy::Missing, Some(_)) => false,
    };
    if wanted {
        pull(engine, cx, logins, image, platform).await?;
    } else if let Some(here) = here {
        return Ok(Image::new(here));
    }
    let fetched = engine.ask(&looking, docker.inspect_image(image)).await?;
    if let Some(wanted) = platform.filter(|wanted| !runs_on(&fetched, wanted)) {
        let (os, architecture) = (fetched.os.unwrap_or_default(), fetched.architecture.unwrap_or_default());
        return Err(refused(format!("the image {image} is made for {os}/{architecture}, not for {wanted}")));
    }
    Ok(Image::new(fetched))
}

/// Whether an image is made for `os/architecture[/variant]`.
fn runs_on(image: &ImageInspect, platform: &str) -> bool {
    let mut parts = platform.split('/');
    let mut same = |of: Option<&String>| match parts.next() {
        None => true,
        Some(wanted) => of.is_none_or(|found| found.is_empty() || found == wanted),
    };
    same(image.os.as_ref()) && same(image.architecture.as_ref()) && same(image.variant.as_ref())
}

async fn pull(
    engine: &Engine,
    cx: &Context,
    logins: &RegistryLogins,
    image: &str,
    platform: Option<&str>,
) -> Result<(), TargetError> {
    let what = format!("fetching the image {image}");
    let login = credentials(engine, cx, logins, image).await?;
    let docker = engine.patient(PATIENCE).await?;
    let options = CreateImageOptionsBuilder::default().from_image(&with_tag(image));
    let options = match platform {
        Some(platform) => options.platform(platform).build(),
        None => options.build(),
    };
    cx.progress(&what);
    let mut layers = Layers::default();
    let mut told = docker.create_image(Some(options), None, login);
    loop {
        let next = tokio::select! {
            biased;
            () = cx.cancel().cancelled() => {
                return Err(TargetError::new(engine.target(), TargetErrorKind::Cancelled, format_args!("stopped {what}")));
            }
            next = tokio::time::timeout(PATIENCE, told.next()) => next,
        };
        match next {
            Err(_) => {
                let what = format!("{what}: the engine has said nothing for {} s", PATIENCE.as_secs());
                return Err(TargetError::new(engine.target(), TargetErrorKind::Transient, what));
            }
            Ok(None) => return Ok(()),
            Ok(Some(Err(error))) => {
                // Fetching changes nothing that could not be done again.
                let mut failed = engine.failed(&what, &error);
                if failed.kind == TargetErrorKind::Unknown {
                    failed.kind = TargetErrorKind::Transient;
                }
                let said = failed.message.as_str();
                if ["unauthorized", "no basic auth", "denied"].iter().any(|word| said.contains(word)) {
                    let registry = super::registry::registry_of(image);
                    failed = failed.with_hint(match logins.contains_key(registry) {
                        true => format!("the registry {registry} does not take this target's login for it: see `registries`"),
                        false => format!("this target has no login for the registry {registry}: write one under `registries`, if the name is right"),
                    });
                }
                return Err(failed);
            }
            Ok(Some(Ok(said))) => {
                if let Some(done) = layers.hear(said) {
                    cx.progress(format_args!("{what}: {done} %"));
                }
            }
        }
    }
}

/// Without a tag the engine would fetch all of them.
fn with_tag(image: &str) -> String {
    let last = image.rsplit('/').next().unwrap_or(image);
    if last.contains(':') || last.contains('@') { image.to_owned() } else { format!("{image}:latest") }
}

/// How far the layers of an image have come.
#[derive(Default)]
struct Layers {
    bytes: HashMap<String, (i64, i64)>,
    told: i64,
}

impl Layers {
    /// The per cent that are there, whenever it is another ten.
    fn hear(&mut self, said: CreateImageInfo) -> Option<i64> {
        let (layer, progress) = (said.id?, said.progress_detail?);
        self.bytes.insert(layer, (progress.current?, progress.total?));
        let (here, all) = self.bytes.values().fold((0, 0), |sum, layer| (sum.0 + layer.0, sum.1 + layer.1));
        let tens = here.saturating_mul(10).checked_div(all)? * 10;
        (tens > self.told).then(|| {
            self.told = tens;
            tens
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bollard::models::ProgressDetail;

    #[test]
    fn a_pull_policy_is_one_of_the_spec_s_words() {
        assert!(matches!(policy(None), Ok(Policy::Missing)));
        assert!(matches!(policy(Some("every_1d12h")), Ok(Policy::Older(age)) if age.as_secs() == 129_600));
        for wrong in ["sometimes", "every_", "every_12", "every_x"] {
            assert!(policy_problem(Some(wrong)).unwrap().contains(wrong));
        }
        assert!(policy_problem(Some("build")).unwrap().contains("builder"));
    }

    #[test]
    fn progress_is_told_in_tens() {
        let mut layers = Layers::default();
        let said = |layer: &str, current| CreateImageInfo {
            id: Some(layer.to_owned()),
            progress_detail: Some(ProgressDetail { current: Some(current), total: Some(100) }),
            ..CreateImageInfo::default()
        };
        let told: Vec<Option<i64>> =
            [("a", 5), ("a", 12), ("a", 19), ("b", 0), ("b", 81)].map(|(l, n)| layers.hear(said(l, n))).into();
        assert_eq!(told, [None, Some(10), None, None, Some(50)]);
    }

    #[test]
    fn a_revision_keeps_the_digest_of_the_name_it_ran() {
        let digests = ["other@sha256:1", "127.0.0.1:5000/app@sha256:2"].map(str::to_owned).to_vec();
        let image = Image { id: "sha256:0".to_owned(), digests, ..Image::default() };
        let digest = |name: &str| image.ran_as(name).digest.unwrap();
        assert_eq!(digest("127.0.0.1:5000/app"), "127.0.0.1:5000/app@sha256:2");
        assert_eq!(digest("127.0.0.1:5000/app:3"), "127.0.0.1:5000/app@sha256:2");
        assert_eq!(digest("mine:1"), "other@sha256:1", "the same image under another name");
        assert_eq!(Image::default().ran_as("mine:1").digest, None);
    }

    #[test]
    fn an_image_without_a_tag_is_its_latest() {
        assert_eq!(with_tag("127.0.0.1:5000/app"), "127.0.0.1:5000/app:latest");
        assert_eq!(with_tag("app:1"), "app:1");
        assert_eq!(with_tag("app@sha256:0"), "app@sha256:0");
    }
}
