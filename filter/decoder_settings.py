"""decoder.json of a model directory: how the model's probabilities become spans.

Windows, thresholds and calibration belong to a model as much as its weights do, and stand beside
them, in a file that a person can read and change. Every key is checked: a misspelt threshold would
otherwise be no threshold at all.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from filter.errors import WinnowError, unknown
from filter.masks import Shape
from filter.windows import SPECIAL_TOKENS

FORMAT = 1
"""Version of decoder.json that is written and read."""


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """What a threshold costs and brings, as measured when the model was calibrated.

    Attributes:
        threshold: Probability of spam that a run must reach to be cut.
        prose_loss: Prose characters cut / prose characters, pooled over the pages.
        recall: Spam characters cut / spam characters; None where the pages had no spam.
        page_loss: Mean over the pages of each page's prose loss; 0 for a page without prose.
        bound: What the expected prose loss of a page keeps within at this threshold, by conformal
            risk control; None on a curve without a promise, as is `page_loss`.
    """

    threshold: float
    prose_loss: float
    recall: float | None
    page_loss: float | None = None
    bound: float | None = None


@dataclass(frozen=True, slots=True)
class Promise:
    """What is promised of the prose that the threshold loses, and what the promise rests on.

    Over draws of the calibration pages, and for a page of the same kind as those, the expected
    share of the page's prose that is cut is at most `max_prose_loss`.

    Attributes:
        method: How the threshold was chosen.
        max_prose_loss: The bound that was asked for.
        pages: Calibration pages.
        pages_with_spam: Those of them with spam.
        share: Share of the pages given that were set aside for calibration.
        seed: Of the draw that set them aside.
        data: First 12 hex digits of the SHA-256 of the calibration pages and their spans.
        engine: Engine and number format that gave the probabilities.
        model: Hash of the model that gave them.
    """

    method: str
    max_prose_loss: float
    pages: int
    pages_with_spam: int
    share: float
    seed: int
    data: str
    engine: str
    model: str


@dataclass(frozen=True)
class DecoderSettings:
    """The contents of decoder.json: how probabilities become spans.

    Attributes:
        window: Tokens that the model sees at once, [CLS] and [SEP] included.
        overlap: Tokens that neighbouring windows share at least.
        threshold: Probability of spam, with what the bonuses add, that a run must reach to be cut.
        low_ratio: Share of the threshold down to which a run extends to the end of a clause.
        min_gap: Longest hole, in characters, that is cut with its two sides.
        line_bonus: Nats that a line as a whole has beyond the mean of its characters; the sure ones
            of a short line raise its others, too. None lets every character speak for itself.
        repeat_bonus: Nats that a string in two places has beyond the mean of its characters in all
            its places; each doubling of the places adds one, up to three. None lets every place
            speak for itself.
        whole_line_bonus: Nats by which every character of a line may fall short of the threshold
            for the line to be cut whole. None lets a line reach it as any run does.
        page_bonus: Nats by which the threshold of a page falls where something is cut of it, and
            again with each doubling of the stretches with something in them, one beforehand. None
            lets every stretch speak for itself.
        temperature: Divides the logits: calibrates the probabilities.
        bias: Nats added to the logits of labels, by name, after the temperature.
        min_han: Share of Han characters among the letters of a page below which it is passed as it
            is, as not Chinese; 0 filters every page.
        promise: What is promised of the threshold; None if nothing is.
        curve: What other thresholds cost, by ascending threshold.
    """

    window: int = 256
    overlap: int = 64
    threshold: float = 0.5
    low_ratio: float = 0.5
    min_gap: int = 1
    line_bonus: float | None = None
    repeat_bonus: float | None = None
    whole_line_bonus: float | None = None
    page_bonus: float | None = None
    temperature: float = 1.0
    bias: dict[str, float] = field(default_factory=dict)
    min_han: float = 0.0
    promise: Promise | None = None
    curve: tuple[CurvePoint, ...] = ()

    @property
    def shape(self) -> Shape:
        """Those settings that say how far what one character says reaches to others."""
        return Shape(
            low_ratio=self.low_ratio,
            min_gap=self.min_gap,
            line_bonus=self.line_bonus,
            repeat_bonus=self.repeat_bonus,
            whole_line_bonus=self.whole_line_bonus,
            page_bonus=self.page_bonus,
        )

    @property
    def digest(self) -> str:
        """12 hex digits of the SHA-256 of all that spans depend on besides model and threshold.

        What is known of thresholds does not count. Nor does the threshold, of which this is one,
        and a filter's own may be another.
        """
        apart = ("threshold", "promise", "curve")
        values = {own.name: getattr(self, own.name) for own in fields(self)}
        kept = {name: value for name, value in values.items() if name not in apart}
        # 1 and 1.0 are one setting, whichever of them stands in the file.
        kept = json.loads(json.dumps(kept), parse_int=float)
        return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()[:12]

    def threshold_at(self, max_prose_loss: float) -> float:
        """The lowest threshold of the curve that keeps the prose loss within `max_prose_loss`.

        Where the model has a promise it is the promised bound that must keep within it: the
        promise then holds for the threshold returned, so long as `max_prose_loss` was not chosen
        by looking at the curve. Without one it is the pooled prose loss that was measured.

        Raises:
            WinnowError: If the curve is empty or never gets that low.
        """
        if not self.curve:
            raise WinnowError(
                "the model has no curve of prose loss by threshold in its decoder.json:"
                " run `winnow calibrate`, or give a threshold instead"
            )
        losses = [point.prose_loss if point.bound is None else point.bound for point in self.curve]
        for point, loss in zip(self.curve, losses, strict=True):
            if loss <= max_prose_loss:
                return point.threshold
        message = (
            f"no threshold of the model's curve keeps the prose loss within {max_prose_loss:g};"
            f" the lowest is {min(losses):.4g}"
        )
        if self.promise is not None:
            message += (
                f", promised on {self.promise.pages:,} calibration pages: run `winnow calibrate`"
                " on more, or ask for less"
            )
        raise WinnowError(message)


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file.

    Raises:
        WinnowError: If it cannot be read or is something else.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise WinnowError(f"{path}: cannot be read ({error.strerror})") from error
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise WinnowError(f"{path}: not valid JSON ({error})") from error
    if not isinstance(value, dict):
        raise WinnowError(f"{path}: must hold a JSON object, not {type(value).__name__}")
    return value


def read_decoder(path: Path) -> DecoderSettings:
    """Read and check a decoder.json; keys that are absent take their defaults.

    Raises:
        WinnowError: If a key is unknown or a value out of range.
    """
    values = read_json(path)
    known = ["format", *(own.name for own in fields(DecoderSettings))]
    for key in values:
        if key not in known:
            raise WinnowError(f"{path}: {unknown('key', key, known)}")
    version = values.pop("format", None)
    if version != FORMAT:
        raise WinnowError(f"{path}: format must be {FORMAT}, not {version!r}")
    _check_number(path, values, "window", whole=True, low=SPECIAL_TOKENS + 1)
    window = values.get("window", DecoderSettings.window)
    _check_number(path, values, "overlap", whole=True, low=0, high=window - SPECIAL_TOKENS - 1)
    _check_number(path, values, "threshold", low=0, high=1, above=True)
    _check_number(path, values, "low_ratio", low=0, high=1, above=True)
    _check_number(path, values, "min_gap", whole=True, low=0)
    for key in ("line_bonus", "repeat_bonus"):
        if values.get(key) is not None:
            _check_number(path, values, key, low=-100, high=100)
    for key in ("whole_line_bonus", "page_bonus"):
        if values.get(key) is not None:
            _check_number(path, values, key, low=0, high=100)
    _check_number(path, values, "temperature", low=0, above=True)
    _check_number(path, values, "min_han", low=0, high=1)
    bias = values.get("bias", {})
    if not isinstance(bias, dict):
        raise WinnowError(f"{path}: bias must be an object of nats by label, not {bias!r}")
    for label in bias:
        _check_number(path, bias, label, low=-100, high=100)
    values["promise"] = _promise(path, values.get("promise"))
    values["curve"] = _curve(path, values.get("curve", []))
    if values["promise"] and any(point.bound is None for point in values["curve"]):
        raise WinnowError(f"{path}: a curve with a promise must have a bound at every point")
    return DecoderSettings(**values)


def _check_number(
    path: Path,
    values: dict[str, Any],
    key: str,
    *,
    low: float,
    high: float = float("inf"),
    whole: bool = False,
    above: bool = False,
) -> None:
    """Check that a value, if there is one, lies in [low, high], or (low, high] with `above`."""
    if key not in values:
        return
    value = values[key]
    is_number = isinstance(value, int if whole else (int, float)) and not isinstance(value, bool)
    if is_number and (low < value if above else low <= value) and value <= high:
        return
    kind = "a whole number" if whole else "a number"
    start = f"above {low:g}" if above else f"of at least {low:g}"
    end = f" and at most {high:g}" if high != float("inf") else ""
    raise WinnowError(f"{path}: {key} must be {kind} {start}{end}, not {value!r}")


def _promise(path: Path, values: Any) -> Promise | None:
    if values is None:
        return None
    known = [own.name for own in fields(Promise)]
    if not isinstance(values, dict) or set(values) != set(known):
        raise WinnowError(f"{path}: promise must be an object with the keys {', '.join(known)}")
    for key in ("max_prose_loss", "share"):
        _check_number(path, values, key, low=0, high=1)
    for key in ("pages", "pages_with_spam", "seed"):
        _check_number(path, values, key, whole=True, low=0)
    for key in ("method", "data", "engine", "model"):
        if not isinstance(values[key], str):
            raise WinnowError(f"{path}: promise: {key} must be a string, not {values[key]!r}")
    return Promise(**values)


def _curve(path: Path, points: Any) -> tuple[CurvePoint, ...]:
    known = [own.name for own in fields(CurvePoint)]
    required = known[:3]
    if not isinstance(points, list):
        raise WinnowError(f"{path}: curve must be a list of points, not {type(points).__name__}")
    for number, point in enumerate(points):
        if not isinstance(point, dict) or not set(required) <= set(point) <= set(known):
            raise WinnowError(
                f"{path}: point {number} of curve must have the keys {', '.join(required)}"
                f" and may have {', '.join(known[3:])}"
            )
        given = {key: value for key, value in point.items() if value is not None}
        for key in known:
            _check_number(path, given if key in known[2:] else point, key, low=0, high=1)
    return tuple(sorted((CurvePoint(**p) for p in points), key=lambda p: p.threshold))
