//! A target of one's own, used directly: plan, deploy, change, find drift, roll back, destroy.
#![expect(clippy::print_stdout, reason = "a program for people")]

use std::path::PathBuf;

use windflow_core::target::{Context, Desired, EnvValue, Plan, Process, Service, Stack, Target, TargetExt};
use windflow_core::{ServiceName, StackName};
use windflow_examples::folder_target::FolderTarget;

fn stack(version: &str) -> Result<Stack, Box<dyn std::error::Error>> {
    let process = Process { command: vec!["server".into()], search: Vec::new(), working_dir: None };
    let environment = [("VERSION".to_owned(), EnvValue::Plain(version.to_owned()))].into();
    let web = Service { process: Some(process), environment, ..Service::default() };
    Ok(Stack::new(StackName::new("shop")?, [(ServiceName::new("web")?, web)].into()))
}

fn show(title: &str, plan: &Plan) {
    let paths: Vec<String> = plan.changes.iter().map(|c| format!("{} {}", c.kind.sign(), c.path)).collect();
    println!("{title}: {}", if paths.is_empty() { "no changes".to_owned() } else { paths.join(", ") });
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let root = PathBuf::from(std::env::args().nth(1).ok_or("usage: custom-target FOLDER")?);
    let target = FolderTarget::new("folder".parse()?, "me".parse()?, &root);
    let shop = StackName::new("shop")?;
    // Every call has a key: the same call under the same key happens once.
    let cx = Context::new;

    show("first", &target.plan_for(&cx("plan"), &Desired::Present(stack("1")?)).await?);
    println!("{:?}", target.deploy(&cx("one"), stack("1")?).await?);
    show("again", &target.plan_for(&cx("plan"), &Desired::Present(stack("1")?)).await?);
    println!("{:?}", target.deploy(&cx("two"), stack("2")?).await?);

    std::fs::remove_file(root.join("me/shop/services/web.json"))?;
    show("drift", &target.drift(&cx("drift"), &shop).await?);

    let back = target.plan_rollback(&cx("three"), &shop, None).await?;
    show("back", &back);
    println!("{:?}", target.apply(&cx("three"), &back).await?);
    println!("{:?}", target.destroy(&cx("four"), &shop).await?);
    Ok(())
}
