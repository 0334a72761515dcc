//! The reflection service: what this server speaks, for clients that have no .proto files.
//!
//! It answers from the descriptions that `proto` was compiled from. Extensions are of protobuf 2; there are none.

use core::pin::Pin;
use std::collections::BTreeMap;
use std::sync::Arc;

use anyedge_proto::DESCRIPTORS;
use anyedge_proto::reflection::server_reflection_request::MessageRequest;
use anyedge_proto::reflection::server_reflection_response::MessageResponse;
use anyedge_proto::reflection::server_reflection_server::{
    ServerReflection, ServerReflectionServer,
};
use anyedge_proto::reflection::{
    ErrorResponse, FileDescriptorResponse, ListServiceResponse, ServerReflectionRequest,
    ServerReflectionResponse, ServiceResponse,
};
use futures_util::stream::{self, Stream, StreamExt as _};
use prost::Message as _;
use prost_types::{DescriptorProto, FileDescriptorProto, FileDescriptorSet};
use tonic::{Code, Request, Response, Status, Streaming};

/// Answers from the descriptions of this crate's .proto files.
#[derive(Clone, Debug)]
pub struct ReflectionService {
    index: Arc<Index>,
}

#[derive(Debug, Default)]
struct Index {
    /// The services that this server has.
    services: Vec<String>,
    /// A file's encoded description, and the names of those it imports.
    files: BTreeMap<String, (Vec<u8>, Vec<String>)>,
    /// The file that declares each service, method, message and enum.
    symbols: BTreeMap<String, String>,
}

impl ReflectionService {
    /// Tells of `services`, by their full names, and of everything that the .proto files declare.
    pub fn server(services: &[&str]) -> ServerReflectionServer<ReflectionService> {
        let set = FileDescriptorSet::decode(DESCRIPTORS).expect("it was encoded by this build");
        let mut index = Index {
            services: services.iter().map(|name| (*name).to_owned()).collect(),
            ..Index::default()
        };
        for file in &set.file {
            index.add(file);
        }
        ServerReflectionServer::new(ReflectionService {
            index: Arc::new(index),
        })
    }
}

impl Index {
    fn add(&mut self, file: &FileDescriptorProto) {
        let package = file.package();
        let mut names = Vec::new();
        for service in &file.service {
            let service_name = join(package, service.name());
            let methods = service.method.iter();
            names.extend(methods.map(|method| join(&service_name, method.name())));
            names.push(service_name);
        }
        for message in &file.message_type {
            add_message(package, message, &mut names);
        }
        names.extend(file.enum_type.iter().map(|kind| join(package, kind.name())));
        for name in names {
            self.symbols.insert(name, file.name().to_owned());
        }
        let entry = (file.encode_to_vec(), file.dependency.clone());
        self.files.insert(file.name().to_owned(), entry);
    }

    fn answer(&self, request: &ServerReflectionRequest) -> MessageResponse {
        match &request.message_request {
            Some(MessageRequest::ListServices(_)) => {
                let services = self.services.iter().cloned();
                MessageResponse::ListServicesResponse(ListServiceResponse {
                    service: services.map(|name| ServiceResponse { name }).collect(),
                })
            }
            Some(MessageRequest::FileByFilename(name)) => self.file(name),
            Some(MessageRequest::FileContainingSymbol(symbol)) => match self.symbols.get(symbol) {
                Some(name) => self.file(name),
                None => refusal(Code::NotFound, "no such symbol"),
            },
            Some(
                MessageRequest::FileContainingExtension(_)
                | MessageRequest::AllExtensionNumbersOfType(_),
            ) => refusal(Code::NotFound, "no extensions"),
            None => refusal(Code::InvalidArgument, "nothing is asked"),
        }
    }

    /// The file, then all that it needs to be understood.
    fn file(&self, name: &str) -> MessageResponse {
        let mut wanted = vec![name];
        let mut at = 0;
        let mut found = Vec::new();
        while let Some(name) = wanted.get(at) {
            at += 1;
            let Some((bytes, imports)) = self.files.get(*name) else {
                return refusal(Code::NotFound, "no such file");
            };
            found.push(bytes.clone());
            for import in imports {
                if !wanted.contains(&import.as_str()) {
                    wanted.push(import);
                }
            }
        }
        MessageResponse::FileDescriptorResponse(FileDescriptorResponse {
            file_descriptor_proto: found,
        })
    }
}

fn join(outer: &str, name: &str) -> String {
    if outer.is_empty() {
        name.to_owned()
    } else {
        format!("{outer}.{name}")
    }
}

fn add_message(outer: &str, message: &DescriptorProto, names: &mut Vec<String>) {
    let name = join(outer, message.name());
    for inner in &message.nested_type {
        add_message(&name, inner, names);
    }
    names.extend(
        message
            .enum_type
            .iter()
            .map(|kind| join(&name, kind.name())),
    );
    names.push(name);
}

fn refusal(code: Code, message: &str) -> MessageResponse {
    MessageResponse::ErrorResponse(ErrorResponse {
        error_code: code.into(),
        error_message: message.to_owned(),
    })
}

#[tonic::async_trait]
impl ServerReflection for ReflectionService {
    type ServerReflectionInfoStream =
        Pin<Box<dyn Stream<Item = Result<ServerReflectionResponse, Status>> + Send>>;

    async fn server_reflection_info(
        &self,
        request: Request<Streaming<ServerReflectionRequest>>,
    ) -> Result<Response<Self::ServerReflectionInfoStream>, Status> {
        let index = Arc::clone(&self.index);
        let answers = request.into_inner().map(move |request| {
            let request = request?;
            Ok(ServerReflectionResponse {
                valid_host: request.host.clone(),
                message_response: Some(index.answer(&request)),
                original_request: Some(request),
            })
        });
        // A failed stream ends after its error.
        let answers = stream::unfold(Some(Box::pin(answers)), |answers| async {
            let mut answers = answers?;
            let answer: Result<_, Status> = answers.next().await?;
            let rest = answer.is_ok().then_some(answers);
            Some((answer, rest))
        });
        Ok(Response::new(Box::pin(answers)))
    }
}
