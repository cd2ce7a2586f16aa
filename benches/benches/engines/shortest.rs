//! What the engine itself takes: the shortest sequence of calls that comes to the same point, made at the same concurrency
//! by a program that plans nothing, records nothing and could undo nothing.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use bollard::Docker;
use bollard::models::{ContainerCreateBody, HealthConfig, HostConfig, NetworkCreateRequest};
use bollard::query_parameters::{CreateContainerOptionsBuilder, RemoveContainerOptionsBuilder};
use futures_util::future::join_all;
use tokio::runtime::Runtime;

use crate::judge::{Judge, Point};
use crate::stack::VERSION;

/// How long the engine takes to come from nothing to all healthy, to change one, and to have nothing again.
pub fn measure(runtime: &Runtime, judge: &Judge<'_>, services: usize) -> [Duration; 3] {
    let docker = &judge.docker;
    let began = Instant::now();
    runtime.block_on(async {
        let network = NetworkCreateRequest { name: "bench_default".to_owned(), ..Default::default() };
        docker.create_network(network).await.unwrap();
        join_all((1..=services).map(|number| start(docker, format!("bench-{number}"), 1))).await;
    });
    judge.wait(Point::Healthy { services, version: 1 });
    let up = began.elapsed();

    let began = Instant::now();
    let old = format!("bench-{services}");
    runtime.block_on(async {
        stop(docker, &old).await;
        start(docker, "bench-new".to_owned(), 2).await;
    });
    judge.wait(Point::Healthy { services, version: 2 });
    let changed = began.elapsed();

    let began = Instant::now();
    let names = (1..services).map(|number| format!("bench-{number}")).chain(["bench-new".to_owned()]);
    runtime.block_on(async {
        join_all(names.map(|name| async move { stop(docker, &name).await })).await;
        docker.remove_network("bench_default").await.unwrap();
    });
    judge.wait(Point::Gone);
    [up, changed, began.elapsed()]
}

async fn start(docker: &Docker, name: String, version: u32) {
    let check = ["CMD", "wget", "-q", "-O", "/dev/null", "http://127.0.0.1/health"];
    let second = Some(1_000_000_000);
    let body = ContainerCreateBody {
        image: Some("wf-web:1".to_owned()),
        labels: Some(HashMap::from([(VERSION.to_owned(), version.to_string())])),
        healthcheck: Some(HealthConfig {
            test: Some(check.map(str::to_owned).to_vec()),
            interval: second,
            timeout: second.map(|second| 5 * second),
            retries: Some(5),
            ..HealthConfig::default()
        }),
        host_config: Some(HostConfig { network_mode: Some("bench_default".to_owned()), ..HostConfig::default() }),
        ..ContainerCreateBody::default()
    };
    let options = CreateContainerOptionsBuilder::default().name(&name).build();
    let made = docker.create_container(Some(options), body).await.unwrap();
    docker.start_container(&made.id, None).await.unwrap();
}

async fn stop(docker: &Docker, name: &str) {
    docker.stop_container(name, None).await.unwrap();
    let options = RemoveContainerOptionsBuilder::default().force(true).build();
    docker.remove_container(name, Some(options)).await.unwrap();
}
