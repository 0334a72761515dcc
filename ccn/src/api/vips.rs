//! The Vip service: addresses that clients use, what they lead to, and which POPs announce them.

use anyedge_net::host::Host;
use anyedge_proto::control::v1::vip_server::Vip;
use anyedge_proto::control::v1::{
    BindVipRequest, ListReply, ListRequest, PublishDomainRequest, PutRequest, RemoveRequest,
    VipRequest,
};
use tonic::{Request, Response, Status};

use super::Api;
use super::allowed::{WRITERS, allowed};
use super::objects::named;
use super::write::Written;
use crate::table::change::{Change, PutMode};
use crate::table::object::Kind;

#[tonic::async_trait]
impl<H: Host> Vip for Api<H> {
    async fn allocate(&self, request: Request<PutRequest>) -> Written {
        self.put(request, Kind::Vip, PutMode::Create).await
    }

    async fn release(&self, request: Request<RemoveRequest>) -> Written {
        self.remove(request, Kind::Vip).await
    }

    async fn list(&self, request: Request<ListRequest>) -> Result<Response<ListReply>, Status> {
        self.list_of(request, Kind::Vip).await
    }

    async fn update(&self, request: Request<PutRequest>) -> Written {
        self.put(request, Kind::Vip, PutMode::Update).await
    }

    async fn bind(&self, request: Request<BindVipRequest>) -> Written {
        let BindVipRequest { options, vip, clb } = allowed(request, WRITERS)?;
        let change = Change::BindVip {
            vip: named(vip, "VIP")?,
            clb: named(clb, "load balancer")?,
        };
        self.write(options, change).await
    }

    async fn unbind(&self, request: Request<VipRequest>) -> Written {
        let VipRequest { options, vip } = allowed(request, WRITERS)?;
        let change = Change::BindVip {
            vip: named(vip, "VIP")?,
            clb: String::new(),
        };
        self.write(options, change).await
    }

    async fn set_publish_domain(&self, request: Request<PublishDomainRequest>) -> Written {
        let PublishDomainRequest {
            options,
            vip,
            publish,
        } = allowed(request, WRITERS)?;
        let vip = named(vip, "VIP")?;
        let change = Change::SetPublishDomain { vip, publish };
        self.write(options, change).await
    }

    async fn publish(&self, request: Request<VipRequest>) -> Written {
        self.set_published(request, true).await
    }

    async fn withdraw(&self, request: Request<VipRequest>) -> Written {
        self.set_published(request, false).await
    }
}

impl<H: Host> Api<H> {
    async fn set_published(&self, request: Request<VipRequest>, published: bool) -> Written {
        let VipRequest { options, vip } = allowed(request, WRITERS)?;
        let vip = named(vip, "VIP")?;
        let change = Change::SetPublished { vip, published };
        self.write(options, change).await
    }
}
