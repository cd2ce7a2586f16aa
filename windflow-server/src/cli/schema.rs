//! `windflow schema`.

use windflow_workflow::document::schema as workflow_schema;

use super::args::{SchemaArgs, SchemaOf};
use crate::exit::Exit;
use crate::render::output::Output;

/// Prints a JSON Schema.
pub fn schema(args: &SchemaArgs, output: &Output) -> Exit {
    let schema = match args.of {
        SchemaOf::Workflow => workflow_schema(),
    };
    output.verbatim(&format!("{schema:#}\n"));
    Exit::Success
}
