"""The audit folder: identity, coefficients, tables and the ledger of receipts."""

from tasks.store.coefficients import CoefficientStore as CoefficientStore
from tasks.store.folder import AuditFolder as AuditFolder
from tasks.store.receipts import Receipt as Receipt
from tasks.store.receipts import Shard as Shard
from tasks.store.receipts import completed_shards as completed_shards
from tasks.store.receipts import plan_shards as plan_shards
