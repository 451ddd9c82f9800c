//! The gateway, as the passes of its own process speak with it.

use std::collections::BTreeMap;

use super::Gateway;
use crate::host;
use crate::host::gateway::GatewayError;
use crate::model::{Demand, InstanceId, Timestamp};

impl host::Gateway for Gateway {
    fn serves(&self) -> bool {
        true
    }

    fn demand(&self, now: Timestamp) -> Option<Demand> {
        Some(Self::demand(self, now))
    }

    fn withdraw(&self, instances: &[InstanceId]) -> Result<(), GatewayError> {
        Self::withdraw(self, instances);
        Ok(())
    }

    fn readmit(&self, instances: &[InstanceId]) -> Result<(), GatewayError> {
        Self::readmit(self, instances);
        Ok(())
    }

    fn in_flight(&self, instances: &[InstanceId]) -> Result<BTreeMap<InstanceId, u32>, GatewayError> {
        Ok(instances.iter().map(|id| (id.clone(), Self::in_flight(self, id))).collect())
    }
}
