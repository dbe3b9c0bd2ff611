"""Who sits at a seat of a game: a person with keys, or an agent that thinks in a worker."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import NamedTuple, Protocol

from play.game.inputs import STAY, Bindings, PlayerInput
from play.game.worker import JointAct, PartnerWorker

HUMAN, AGENT, MISS = "human", "agent", "miss"


class ChosenAction(NamedTuple):
    """The action of one seat in one tick, and where it came from."""

    action: int
    source: str  # HUMAN, AGENT, or MISS: the agent's answer did not come in time, `stay` stands in
    key_s: float | None = None  # monotonic time of the key press (human only; None: no key, stays)
    latency_ms: float | None = None  # time the agent took to decide (agent only)


@dataclass(frozen=True)
class SeatInfo:
    """What the record says about one seat."""

    kind: str  # "human" or "agent"
    name: str  # player's or partner's id
    label: str  # what the player was shown ("B" in a blinded study, else the name)
    ref: str = ""  # how the agent was loaded: built-in name, checkpoint path, pool#member
    checkpoint_sha256: str = ""
    stochastic: bool = True  # sampled actions (True) or argmax (False); meaningless for people and scripts
    seed: int = 0
    bindings: str = ""  # name of the key preset (human only)

    def to_dict(self) -> dict[str, object]:
        """JSON form."""
        return asdict(self)


class SeatSource(Protocol):
    """What a session asks of whoever holds a seat. No call may block."""

    @property
    def info(self) -> SeatInfo:
        """For the record; asked for when the game starts."""

    @property
    def status(self) -> str:
        """ "ready", or "loading" (the game waits before it starts), "hung", "crashed", "closed"."""

    @property
    def message(self) -> str:
        """One line about a hang or crash."""

    def poll(self, now_s: float) -> None:
        """Called every frame: look for answers, notice a hang."""

    def observe(self, tick: int, state: Mapping[str, object], joint_act: JointAct, now_s: float) -> None:
        """The state in which action number `tick` is to be chosen, and what was played in the tick before."""

    def choose(self, tick: int, now_s: float) -> ChosenAction:
        """The action for `tick`, now due."""

    def interrupt(self) -> None:
        """The game pauses: forget half-made intents."""

    def close(self) -> None:
        """The game is over: free what is held."""


class HumanSeat:
    """A person with a keyboard or a gamepad; send key events to `input`."""

    status = "ready"
    message = ""

    def __init__(self, bindings: Bindings, *, hold_to_repeat: bool = True, name: str = "human") -> None:
        self.input = PlayerInput(bindings, hold_to_repeat)
        self.info = SeatInfo("human", name, name, bindings=bindings.name)

    def poll(self, now_s: float) -> None:
        """Nothing to look for: keys arrive by `input.press`."""

    def observe(self, tick: int, state: Mapping[str, object], joint_act: JointAct, now_s: float) -> None:
        """The person looks at the screen."""

    def choose(self, tick: int, now_s: float) -> ChosenAction:
        """The newest key, a held direction, or stay."""
        intent = self.input.take()
        return ChosenAction(intent.action, HUMAN, key_s=intent.key_s)

    def interrupt(self) -> None:
        """Drop pressed keys: their release may happen outside the window."""
        self.input.clear()

    def close(self) -> None:
        """Nothing held."""


class AgentSeat:
    """An agent behind a `PartnerWorker`; its answer to a state must be there when the next tick is due."""

    def __init__(self, worker: PartnerWorker, *, label: str = "") -> None:
        self.worker = worker
        self._label = label

    @property
    def status(self) -> str:
        """Status of the worker; a partner that hung or crashed is replaced by `stay`."""
        return self.worker.status

    @property
    def message(self) -> str:
        """What the worker says about its hang or crash."""
        return self.worker.message

    @property
    def info(self) -> SeatInfo:
        """Complete once it is not "loading" any more: the checkpoint's hash comes from the worker."""
        spec = self.worker.spec
        return SeatInfo(
            "agent",
            self.worker.agent_id or spec.ref,
            self._label or self.worker.agent_id or spec.ref,
            ref=spec.ref,
            checkpoint_sha256=self.worker.checkpoint_sha256,
            stochastic=spec.stochastic,
            seed=spec.seed,
        )

    def poll(self, now_s: float) -> None:
        """Collect an answer, notice a hang or crash."""
        self.worker.poll(now_s)

    def observe(self, tick: int, state: Mapping[str, object], joint_act: JointAct, now_s: float) -> None:
        """Hand over the newest state."""
        self.worker.submit(tick, state, joint_act, now_s)

    def choose(self, tick: int, now_s: float) -> ChosenAction:
        """The answer for exactly this tick, else `stay` and a miss."""
        self.worker.poll(now_s)
        answer = self.worker.take(tick)
        if answer is None:
            return ChosenAction(STAY, MISS)
        return ChosenAction(answer.action, AGENT, latency_ms=answer.latency_ms)

    def interrupt(self) -> None:
        """An answer under way stays valid: the state does not change during a pause."""

    def close(self) -> None:
        """Stop the worker."""
        self.worker.close()
