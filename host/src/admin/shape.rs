//! The JSON of DBOS's admin servers: its names, and texts where it has texts.

use serde::Serialize;

use crate::database::{RunDetails, StepDetails, UndoRow};
use crate::workflow::Waiting;

/// A run. Numbers are texts, as DBOS sends them; payloads are the JSON that is stored.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Workflow<'a> {
    #[serde(rename = "WorkflowUUID")]
    id: &'a str,
    status: Option<&'a str>,
    workflow_name: Option<&'a str>,
    workflow_class_name: Option<&'a str>,
    workflow_config_name: Option<&'a str>,
    authenticated_user: Option<&'a str>,
    assumed_role: Option<&'a str>,
    authenticated_roles: Option<&'a str>,
    input: Option<&'a str>,
    output: Option<&'a str>,
    error: Option<&'a str>,
    created_at: String,
    updated_at: String,
    queue_name: Option<&'a str>,
    application_version: Option<&'a str>,
    #[serde(rename = "ExecutorID")]
    executor: Option<&'a str>,
    #[serde(rename = "WorkflowTimeoutMS")]
    timeout: Option<String>,
    #[serde(rename = "WorkflowDeadlineEpochMS")]
    deadline: Option<String>,
    #[serde(rename = "DeduplicationID")]
    deduplication: Option<&'a str>,
    priority: String,
    queue_partition_key: Option<&'a str>,
    forked_from: Option<&'a str>,
    was_forked_from: bool,
    #[serde(rename = "ParentWorkflowID")]
    parent: Option<&'a str>,
    dequeued_at: Option<String>,
    #[serde(rename = "DelayUntilEpochMS")]
    delay_until: Option<String>,
    completed_at: Option<String>,
    attributes: Option<&'a str>,
    schedule_name: Option<&'a str>,
    application_name: Option<&'a str>,
    /// What DBOS does not have: why it goes on waiting.
    #[serde(skip_serializing_if = "Option::is_none")]
    waiting: Option<&'a Waiting>,
    /// Nor that: what undoes it.
    #[serde(skip_serializing_if = "Option::is_none")]
    undo: Option<&'a UndoRow>,
}

impl<'a> Workflow<'a> {
    /// A run in this shape.
    pub(super) fn of(run: &'a RunDetails) -> Self {
        let number = |number: Option<i64>| number.map(|number| number.to_string());
        Self {
            id: &run.workflow_uuid,
            status: run.status.as_deref(),
            workflow_name: run.name.as_deref(),
            workflow_class_name: run.class_name.as_deref(),
            workflow_config_name: run.config_name.as_deref(),
            authenticated_user: run.authenticated_user.as_deref(),
            assumed_role: run.assumed_role.as_deref(),
            authenticated_roles: run.authenticated_roles.as_deref(),
            input: run.input.as_deref(),
            output: run.output.as_deref(),
            error: run.error.as_deref(),
            created_at: run.created_at.to_string(),
            updated_at: run.updated_at.to_string(),
            queue_name: run.queue_name.as_deref(),
            application_version: run.application_version.as_deref(),
            executor: run.executor_id.as_deref(),
            timeout: number(run.workflow_timeout_ms),
            deadline: number(run.workflow_deadline_epoch_ms),
            deduplication: run.deduplication_id.as_deref(),
            priority: run.priority.to_string(),
            queue_partition_key: run.queue_partition_key.as_deref(),
            forked_from: run.forked_from.as_deref(),
            was_forked_from: run.was_forked_from,
            parent: run.parent_workflow_id.as_deref(),
            dequeued_at: number(run.started_at_epoch_ms),
            delay_until: number(run.delay_until_epoch_ms),
            completed_at: number(run.completed_at),
            attributes: run.attributes.as_deref(),
            schedule_name: run.schedule_name.as_deref(),
            application_name: run.application_name.as_deref(),
            waiting: run.waiting.as_ref(),
            undo: run.undo.as_ref(),
        }
    }
}

/// A step.
#[derive(Debug, Serialize)]
pub(super) struct Step<'a> {
    function_id: i32,
    function_name: &'a str,
    output: Option<&'a str>,
    error: Option<&'a str>,
    child_workflow_id: Option<&'a str>,
    started_at_epoch_ms: Option<String>,
    completed_at_epoch_ms: Option<String>,
}

impl<'a> Step<'a> {
    /// A step in this shape.
    pub(super) fn of(step: &'a StepDetails) -> Self {
        Self {
            function_id: step.function_id,
            function_name: &step.function_name,
            output: step.output.as_deref(),
            error: step.error.as_deref(),
            child_workflow_id: step.child_workflow_id.as_deref(),
            started_at_epoch_ms: step.started_at_epoch_ms.map(|time| time.to_string()),
            completed_at_epoch_ms: step.completed_at_epoch_ms.map(|time| time.to_string()),
        }
    }
}
