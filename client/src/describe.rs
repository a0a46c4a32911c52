//! The client of an engine's `DescribeService`: what a runner asks the engine about its
//! application.

use chassis::MAX_MESSAGE_BYTES;
use chassis::channel::GrpcChannel;
use proto::engine::describe_service_client::DescribeServiceClient;
use proto::engine::{
    DescribeClusterRequest, DescribeMainRequest, DescribeMainResponse, InfoRequest, InfoResponse,
    Plan, PublishRequest, PublishResponse, SweepRequest,
};
use proto::job::Manifest;
use proto::{ApplicationRef, Incarnation, JobId, Reason, api, engine};
use tonic::Status;

use crate::error::CallError;

/// An application as a runner describes it to the engine.
#[derive(Debug, Clone)]
pub struct Subject {
    /// The application and its generation.
    pub application: ApplicationRef,
    /// The specification as it was submitted.
    pub spec: api::ApplicationSpec,
    /// The verified files in main()'s working directory, the program first.
    pub artifacts: Vec<engine::LocalArtifact>,
    /// The absolute directory where the application's clusters may keep what outlives an
    /// incarnation.
    pub state_directory: String,
    /// The absolute directory that outputs with relative targets go to.
    pub output_directory: String,
    /// The latest incarnation; 0 before the first one.
    pub incarnation: Incarnation,
}

/// Client of one engine's `describe` process. Every call may be repeated.
#[derive(Debug, Clone)]
pub struct Describe {
    inner: DescribeServiceClient<GrpcChannel>,
}

impl Describe {
    /// A client over a channel that carries the attempt's token.
    pub fn new(channel: GrpcChannel) -> Self {
        let inner = DescribeServiceClient::new(channel)
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES);
        Self { inner }
    }

    /// The engine's name, its version, and the programs and options that it takes.
    pub async fn info(&self) -> Result<InfoResponse, CallError> {
        Ok(self.inner.clone().info(InfoRequest {}).await?.into_inner())
    }

    /// The plan of a cluster for this application.
    pub async fn cluster(&self, subject: &Subject) -> Result<Plan, CallError> {
        let request = DescribeClusterRequest {
            application: Some(subject.application.clone().into()),
            spec: Some(subject.spec.clone()),
            artifacts: subject.artifacts.clone(),
            state_directory: subject.state_directory.clone(),
            output_directory: subject.output_directory.clone(),
            incarnation: subject.incarnation.get(),
        };
        let answer = self.inner.clone().describe_cluster(request).await?.into_inner();
        answer.plan.ok_or_else(|| {
            let problem = proto::Problem::new(
                Reason::PlanInvalid,
                "the engine answered DescribeCluster without a plan",
            );
            CallError::from(Status::from(problem))
        })
    }

    /// How main() is launched.
    pub async fn main(&self, subject: &Subject) -> Result<DescribeMainResponse, CallError> {
        let request = DescribeMainRequest {
            application: Some(subject.application.clone().into()),
            spec: Some(subject.spec.clone()),
            artifacts: subject.artifacts.clone(),
            output_directory: subject.output_directory.clone(),
        };
        Ok(self.inner.clone().describe_main(request).await?.into_inner())
    }

    /// Renames to their final names the files that a committed job has staged. `own_jobs` are the
    /// ids of all jobs of this generation.
    pub async fn publish(
        &self,
        job: JobId,
        manifest: Manifest,
        own_jobs: &[JobId],
    ) -> Result<PublishResponse, CallError> {
        let request = PublishRequest {
            job_id: job.to_string(),
            manifest: Some(manifest),
            own_job_ids: own_jobs.iter().map(JobId::to_string).collect(),
        };
        Ok(self.inner.clone().publish(request).await?.into_inner())
    }

    /// Removes staging directories that no job will commit, and checkpoints that no job needs any
    /// more. The answer is the number of directories that were removed.
    pub async fn sweep(&self, request: SweepRequest) -> Result<u32, CallError> {
        Ok(self.inner.clone().sweep(request).await?.into_inner().directories_removed)
    }
}
