import dataclasses
import itertools
import re
from html.parser import HTMLParser

import pandas as pd
import pytest

from tasks.reporting import write_report
from tasks.reporting.gallery import sample_cards

HOSTILE = '<script>alert("1")</script>\' onload=x ${{ 7*7 }} \x00 \udcff \u202e'
VOID = {"meta", "link", "img", "br", "input", "rect", "line", "path", "circle"}


class Page(HTMLParser):
    """Well-formed or refused; gathers what the tests ask for."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.attributes, self.words, self.ids = [], [], [], [], []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        self.ids += [value for name, value in attrs if name == "id"]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] not in ("script", "style"):
            self.words.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())


def only_methods(summary, *methods):
    kept = [
        metric
        for metric in summary["metrics"]
        if metric["labels"].get("method", methods[0]) in methods
    ]
    return {**summary, "metrics": kept}


def assert_no_undefined_numbers(page):
    spoken = " ".join(value for _, name, value in page.attributes if not value.startswith("data:"))
    assert not re.search(r"\b(nan|null|inf|NaN|None|NaT)\b(?!:)|<NA>", page.text + spoken)


@pytest.fixture
def page(summary, audit, gallery, per_class, failures):
    return Page(write_report(summary, audit, gallery, per_class, failures))


def test_report_has_the_headline_every_status_and_every_section(page, summary):
    for sentence in summary["headline"]:
        assert sentence in page.text
    for status in set(summary["counts"]) - {"samples"}:
        assert status in page.text
    for section in ("counts", "reliance", "outcome", "classes", "samples", "trust", "failures"):
        assert section in page.ids
    assert "89.2\u00a0% [86.5, 91.9]" in " ".join(page.words)
    assert "add up to" not in page.text.split("Every sample of the dataset")[1][:600]


def test_report_is_self_contained(page):
    addresses = [
        value for _, name, value in page.attributes if name in ("src", "href", "action", "srcset")
    ]
    assert addresses
    assert all(value.startswith(("data:", "#")) for value in addresses)
    policy = dict.fromkeys(value for _, name, value in page.attributes if name == "content")
    assert any("default-src 'none'" in value for value in policy)


def test_headings_never_skip_a_level(page):
    levels = [int(tag[1]) for tag in page.tags if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))


def test_tables_and_figures_are_labelled(page):
    by_tag = {}
    for tag, name, _ in page.attributes:
        by_tag.setdefault(tag, []).append(name)
    assert by_tag["th"].count("scope") == page.tags.count("th")
    assert (
        by_tag["svg"].count("aria-label") == by_tag["svg"].count("role") == page.tags.count("svg")
    )
    assert by_tag["img"].count("alt") == page.tags.count("img")
    assert len(page.ids) == len(set(page.ids))


def test_methods_stand_in_panels_of_their_own_with_the_reason(page):
    assert "Path integration multiplies" in page.text
    charts = [value for tag, name, value in page.attributes if (tag, name) == ("svg", "aria-label")]
    profiles = [text for text in charts if text.startswith("Share of importance by level")]
    assert len(profiles) == 6  # three methods, alone and by outcome
    titles = ("mean of absolute values", "signed mean", "Integrated gradients")
    assert all(sum(title in text for title in titles) == 1 for text in profiles)


def test_all_three_normalisations_can_be_chosen(page):
    chosen = [value for _, name, value in page.attributes if name == "data-normalisation"]
    assert chosen == ["share", "mean_share", "relative_share"]


def test_hostile_strings_are_shown_and_never_run(summary, audit, gallery, per_class, failures):
    clean = write_report(summary, audit, gallery, per_class, failures)
    summary = {**summary, "name": HOSTILE, "headline": [HOSTILE]}
    summary["metrics"] = [
        {**m, "labels": {**m["labels"], "class": HOSTILE}} if "class" in m["labels"] else m
        for m in summary["metrics"]
    ]
    audit = {**audit, "versions": {HOSTILE: HOSTILE}, "digest": HOSTILE, "created_at": HOSTILE}
    audit["model"] = {"description": HOSTILE, "n_parameters": 1}
    audit["dataset"] = {"description": HOSTILE}
    audit["frequency_labels"] = dict.fromkeys(audit["frequency_labels"], HOSTILE)
    audit["config"] = {
        **audit["config"],
        "model": {"name": HOSTILE, "arguments": {HOSTILE: HOSTILE}},
    }
    fields = ("sample_id", "source", "status", "detail", "label_name", "predicted_name")
    gallery = [dataclasses.replace(one, **dict.fromkeys(fields, HOSTILE)) for one in gallery]
    gallery[0] = dataclasses.replace(
        gallery[0],
        reconstructions={HOSTILE: gallery[0].signal},
        maps={HOSTILE: gallery[0].maps["smoothgrad_signed"]},
        frequency_labels={"1": HOSTILE},
    )
    encodable = HOSTILE.replace("\udcff", "")  # Arrow strings refuse lone surrogates
    per_class = per_class.assign(class_name=encodable, class_index=encodable)
    failures = failures.assign(**dict.fromkeys(failures.columns, encodable))
    text = write_report(summary, audit, gallery, per_class, failures)

    page = Page(text)
    assert page.tags.count("script") == Page(clean).tags.count("script") == 1
    assert not any(name.startswith("on") for _, name, _ in page.attributes)
    assert "<script>alert" not in text
    assert "${{ 7*7 }}" in page.text
    assert not re.search("[\x00\ud800-\udfff\u202e]", text)
    text.encode("utf-8")


@pytest.mark.parametrize("method", ["smoothgrad_signed", "integrated_gradients", "gradient_x"])
def test_one_method_alone_gives_a_page(method, summary, audit, gallery, per_class, failures):
    summary = only_methods(summary, method)
    page = Page(write_report(summary, audit, gallery, per_class, failures))
    assert "Each method has its own panel" not in page.text
    assert_no_undefined_numbers(page)


def test_no_incorrect_samples_is_said(summary, audit, gallery, per_class, failures):
    summary["metrics"] = [m for m in summary["metrics"] if m["labels"].get("correct") != "no"]
    page = Page(write_report(summary, audit, gallery, per_class, failures))
    assert "There is nothing to compare" in page.text


def test_audit_in_which_every_sample_failed_gives_a_page(audit, per_class, failures):
    counts = {"samples": 1, "ok": 0, "decode_error": 1}
    summary = {"name": "empty", "complete": True, "counts": counts, "headline": [], "metrics": []}
    page = Page(write_report(summary, audit, [], per_class.head(0), failures))
    for words in ("There is no headline", "There are no profiles", "No accuracy", "broken.jpg"):
        assert words in page.text
    assert_no_undefined_numbers(page)


def test_page_of_nothing_at_all():
    page = Page(write_report({}, {}, [], pd.DataFrame(), pd.DataFrame()))
    assert "None: every sample was explained." in page.text


def test_missing_values_are_dashes(summary, audit, gallery, per_class, failures):
    nothing = {"estimate": None, "low": float("nan"), "high": None}
    summary["metrics"] = [
        {**metric, **nothing} if index % 3 else {**metric, "low": None}
        for index, metric in enumerate(summary["metrics"])
    ]
    per_class = per_class.astype({"class_index": "Int64", "n": "Int64"})
    per_class.loc[0, ["accuracy", "accuracy_low", "fine_share", "n"]] = None
    per_class.loc[1, "class_name"] = None
    failures = pd.concat([failures, pd.DataFrame({"sample_id": [None]})], ignore_index=True)
    page = Page(write_report(summary, audit, gallery, per_class, failures))
    assert_no_undefined_numbers(page)


def test_incomplete_audit_and_wrong_sums_are_announced(
    summary, audit, gallery, per_class, failures
):
    summary = {**summary, "complete": False, "counts": {"samples": 500, "ok": 300}}
    page = Page(write_report(summary, audit, gallery, per_class, failures))
    assert "This audit is not complete" in page.text
    assert "The statuses add up to 300 , not to 500" in page.text.replace("300,", "300 ,")


def test_classes_with_few_samples_are_flagged(page, per_class):
    flagged = [name for _, name, _ in page.attributes if name == "data-few"]
    assert len(flagged) == (per_class["n"] < 20).sum() == 2


def test_comparison_with_few_samples_warns(summary, audit, gallery, per_class, failures, page):
    assert "too few to conclude" not in page.text
    for metric in summary["metrics"]:
        if metric["labels"].get("correct") == "no":
            metric["n"] = 5
    few = Page(write_report(summary, audit, gallery, per_class, failures))
    assert "too few to conclude" in few.text


def test_class_profile_is_found_by_name_before_index(summary, audit, per_class, failures):
    per_class["class_name"] = [str(index + 1) for index in per_class["class_index"]]
    shares = {"1": (1, 0, 0, 0, 0, 0), "0": (0, 0, 0, 0, 0, 1)}
    summary["metrics"] = [
        {"name": "reliance/share", "estimate": share, "n": 9, "unit": "fraction",
         "labels": {"method": "gradient", "class": name, "level": level}}
        for name, profile in shares.items()
        for level, share in zip((1, 2, 3, 4, 5, "approximation"), profile, strict=True)
    ]  # fmt: skip
    page = Page(write_report(summary, audit, [], per_class.head(1), failures))
    spoken = [value for tag, name, value in page.attributes if (tag, name) == ("svg", "aria-label")]
    assert any(text.startswith("Level 1 100.0") for text in spoken)


def test_settings_carry_the_meaning_from_the_schema(page):
    assert "smoothgrad.noise_fraction" in page.text
    assert "Noise standard deviation over the sample's own range" in page.text


def test_long_list_of_failures_is_cut_and_said(summary, audit, failures):
    many = pd.concat([failures] * 700, ignore_index=True)
    page = Page(write_report(summary, audit, [], pd.DataFrame(), many))
    assert "The first 500 of 700 are listed" in page.text


def test_pictures_stop_at_the_budget(gallery, monkeypatch):
    monkeypatch.setattr("tasks.reporting.gallery.PICTURE_BUDGET", 1000)
    first, second, _ = sample_cards(gallery)
    assert first.picture
    assert not second.picture
    assert "wam-audit show" in second.remark


def test_words_of_the_report_promise_no_more_than_was_measured(page):
    assert "shape bias" not in page.text.lower()
    assert "fine-scale reliance" in page.text.lower()
