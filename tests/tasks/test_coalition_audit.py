"""Coalition gradients in an audit: their map is stored, their order is used, others stay alike."""

from __future__ import annotations

import json

import numpy as np
import torch

from tasks.explain import explain
from tasks.planning import plan_audit
from tasks.session import AuditSession
from tasks.store import AuditFolder, CoefficientStore
from wam_core import WaveletBasis, decompose

WAM_CG = {"coalition_gradients": {"enabled": True, "n_samples": 6, "baseline": "mean"}}
SMOOTH = {"smoothgrad": {"n_samples": 2}, "integrated_gradients": {"n_steps": 2}}


def test_the_audit_stores_the_attribution_and_prices_its_passes(toy_config, compute_all, stored):
    config = toy_config(attribution=SMOOTH | WAM_CG)
    plan = plan_audit(AuditSession(config))
    folder = compute_all(config)
    receipts = [json.loads(path.read_text()) for path in folder.glob("receipts/*.json")]
    assert sum(receipt["n_backward"] for receipt in receipts) == plan.n_backward
    table = stored(folder).table("attributions").set_index(["method", "sample_index"])
    assert set(table.loc["coalition_gradients", "n_passes"]) == {6}
    store = CoefficientStore(AuditFolder(str(folder)))
    assert "coalition_gradients" in store.methods()
    kept = store.read("coalition_gradients", 0)
    importance = table.loc[("coalition_gradients", 0), "total_importance"]
    np.testing.assert_allclose(np.abs(kept).sum(), importance, rtol=1e-2)
    assert (kept < 0).any()
    assert (kept > 0).any()


def test_batches_change_nothing_and_other_methods_do_not_notice(toy_config, compute_all, stored):
    with_it = stored(compute_all(toy_config(attribution=SMOOTH | WAM_CG)))
    small = stored(
        compute_all(
            toy_config(name="small", attribution=SMOOTH | WAM_CG, execution={"max_batch": 2})
        )
    )
    without = stored(compute_all(toy_config(name="without", attribution=SMOOTH)))
    columns = ["sample_id", "method", "total_importance", "fine_share"]
    table, again, alone = (
        audit.table("attributions")[columns].sort_values(columns[:2], ignore_index=True)
        for audit in (with_it, small, without)
    )
    np.testing.assert_allclose(
        again[columns[2:]].to_numpy(float), table[columns[2:]].to_numpy(float), rtol=1e-5
    )
    others = table[table["method"] != "coalition_gradients"].reset_index(drop=True)
    assert others.equals(alone)


def test_off_it_is_not_part_of_what_an_audit_is(toy_config):
    off = {"coalition_gradients": {"enabled": False, "n_samples": 8}}
    assert toy_config(attribution=off).digest() == toy_config().digest()
    assert toy_config(attribution=WAM_CG).digest() != toy_config().digest()


def test_the_ranking_of_an_explanation_is_the_methods_own(toy_config):
    config = toy_config(attribution=SMOOTH | WAM_CG)
    session = AuditSession(config)
    shape = session.model.preprocessing.input_shape
    signal = torch.rand(2, *shape, generator=torch.Generator().manual_seed(0))
    layout = decompose(signal, WaveletBasis(config.basis.wavelet, config.basis.levels)).layout
    found = explain(config, session.model, layout, signal, torch.tensor([0, 1]), ["a", "b"], 4)
    own, size = found.ranking("coalition_gradients"), found.ranking("integrated_gradients")
    assert own.shape == size.shape == (2, layout.size)
    assert (size >= 0).all()
    assert (own < 0).any(), "what speaks against the class comes last"
