//! Words of the command line turned into what they name.

use std::time::Duration;

use windflow_core::{NodeName, RunId, RunState, ServiceName, SignalName, StackName, TargetName};

pub fn parse_pair(text: &str) -> Result<(String, String), String> {
    let pair = text.split_once('=').filter(|(name, _)| !name.is_empty());
    pair.map(|(name, value)| (name.to_owned(), value.to_owned())).ok_or_else(|| "must be NAME=VALUE".to_owned())
}

pub fn parse_json(text: &str) -> Result<serde_json::Value, String> {
    serde_json::from_str(text).map_err(|error| format!("is not JSON: {error}"))
}

pub fn parse_node_input(text: &str) -> Result<(NodeName, serde_json::Value), String> {
    let (node, json) = text.split_once('=').ok_or("must be NODE=JSON")?;
    Ok((parse_node(node)?, parse_json(json)?))
}

pub fn parse_scale(text: &str) -> Result<(ServiceName, u32), String> {
    let (service, number) = text.split_once('=').ok_or("must be SERVICE=N")?;
    Ok((parse_service(service)?, number.parse().map_err(|_| format!("'{number}' is not a number of instances"))?))
}

pub fn parse_duration(text: &str) -> Result<Duration, String> {
    windflow_workflow::document::parse_duration(text).map_err(|error| error.to_string())
}

macro_rules! named {
    ($($function:ident: $name:ident),*) => {$(
        pub fn $function(text: &str) -> Result<$name, String> {
            $name::new(text).map_err(|error| error.to_string())
        }
    )*};
}

named! { parse_run: RunId, parse_node: NodeName, parse_service: ServiceName, parse_signal: SignalName, parse_stack: StackName, parse_target: TargetName }

pub fn parse_state(text: &str) -> Result<RunState, String> {
    text.parse().map_err(|error: windflow_core::InvalidName| error.to_string())
}
