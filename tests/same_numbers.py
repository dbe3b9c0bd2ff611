"""Train every learner and method for a few updates through the command line and print hashes of what they learned.

Moving code must not change a number: run it before a change with `--write FILE`, after it with `--compare FILE`.

It knows no module of ours: only the installed command `coord`, the words of `CASES`, and where results lie. A line has
the name of the case, the hash of its agents, the hash of its training state and the seconds of a core it took. For a
case that writes figures instead, the first hash is of the numbers in its JSON files and the second is `-`. Headers of
files, with times, paths and versions, are not looked at. The hashes are those of one kind of machine.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.metadata
import json
import os
import re
import shlex
import shutil
import sys
import tempfile
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

# Words that several cases share. `{fcp}` in a case is the folder of that case, which is run first.
PPO = "algo.num_envs=8 algo.rollout_len=30 algo.num_epochs=2 algo.num_minibatches=2 algo.total_steps=960 \
algo.hidden=[64] horizon=60 threads=1 seed=3"
POOL = f"population members=2 {PPO}"
TRAIN = f"train members=2 {PPO}"
LABELS = "labels=6 session_labels=2 reward.hidden=[16] reward.train_amount=3"
CONTROL = f"prefer env=walker_walk members=2 total_steps=1240 seed_steps=950 unsup_steps=50 session_every=60 {LABELS} \
query.length=20 reset_updates=2 eval_every=5000 eval_episodes=1 log_every=40 algo.hidden=[16,16] algo.batch_size=16 \
updates_per_step=0.3 threads=1 seed=3"
KITCHEN = f"prefer env=overcooked partners={{fcp}} members=2 horizon=20 envs_per_member=4 total_steps=480 \
unsup_steps=80 session_every=80 {LABELS} query.length=6 eval_every=240 eval_episodes=2 log_every=80 threads=1 seed=3"
SAC = f"{KITCHEN} seed_steps=80 reset_updates=2 algo.hidden=[64,16] algo.batch_size=16"
BY_PPO = f"{KITCHEN} learner=ppo algo.rollout_len=10 algo.num_epochs=2 algo.num_minibatches=2 algo.hidden=[64]"
PAID = "teacher.wants=utility 'teacher.weights={movement: 1}'"  # so that answers differ in so few ticks
RAW = "reward_sees_change=false"  # kitchens: the reward reads states
HAZARDS = f"{RAW} safety.hazards=[collision] safety.cost_steps=5"
CROPS = "reward.crop_min=8 reward.crop_max=12"
FEW = "reward.crop_min=3 reward.crop_max=4"
SURF = "method=surf method.unlabelled_per_label=3"
GAMES = "horizon=60 episodes=4 seed=3"
ISLAND = "words=[total_steps=230,labels=10,log_every=115] seeds=2 direct_seeds=2 threads=1 seed=3"

REPLAY = ("updates_per_step", "reset_updates")  # read by learners with a replay buffer
ASKED = ("labels", "session_", "reward.", "query.")  # read by methods that learn from labels


def without(words: str, *starts: str) -> str:
    """The words of a case but those that begin so."""
    return " ".join(word for word in words.split() if not word.startswith(starts))


# Name of the case -> its command line, without `out=`; a case stands below those that it reads.
CASES: dict[str, str] = {
    # pools
    "fcp": f"{POOL} method=fcp",
    "sp": f"{POOL} method=sp",
    "pbt": f"{POOL} method=pbt method.interval=240",
    "trajedi": f"{POOL} method=trajedi",
    "mep": f"{POOL} method=mep",
    "hsp": f"{POOL} method=hsp method.candidates=3 method.min_return=0 method.episodes=2",
    "bp": f"{POOL} method=bp method.candidates=4 method.min_return=-1 method.episodes=2",
    # egos
    "self-play": TRAIN,
    "self-play-cnn": f"{TRAIN} members=1 algo.network=cnn algo.total_steps=480",
    "self-play-features": f"{TRAIN} algo.network=mlp_features",
    "uniform": f"{TRAIN} partners={{fcp}}",
    "mep-stage-2": f"{TRAIN} method=mep partners={{mep}}",
    "ppo_bc": f"{TRAIN} method=ppo_bc method.sp_until=240 method.sp_end=720",
    "state_aug": f"{TRAIN} method=state_aug partners={{fcp}} method.games=8",
    "upd": f"{TRAIN} method=upd method.candidates=4 method.kept=2 method.interval=240",
    "cole": f"{TRAIN} method=cole method.generation_steps=480 method.games=1 method.permutations=20",
    "e3t": f"{TRAIN} method=e3t",
    "pecan": f"{TRAIN} method=pecan partners={{fcp}} method.iterations=4 method.alpha_iterations=1",
    "belief": f"{TRAIN} method=belief partners={{fcp}} method.hypotheses=3 method.kickstarting_horizon=960",
    "recurrent": f"{TRAIN} method=recurrent partners={{fcp}} method.memory=16 method.chunk_len=15",
    "cec": f"{TRAIN} method=cec algo.network=mlp_features method.memory=16 method.chunk_len=15",
    "bc": "train algo=bc layout=forced_coordination algo.epochs=1 threads=1 seed=3",
    # preferences on a control task
    "control-pebble": f"{CONTROL} method=pebble",
    "control-surf": f"{CONTROL} {SURF} {CROPS} reward.crop_margin=2",
    "control-rune": f"{CONTROL} method=rune",
    "control-qpa": f"{CONTROL} method=qpa {CROPS} reward.train_amount=3",
    "control-mrn-released": f"{CONTROL} method=mrn method.form=released method.every=40",
    "control-mrn-corrected": f"{CONTROL} method=mrn method.form=corrected method.every=40",
    "control-ours": f"{CONTROL} method=ours method.meta_every=60 method.reset_critic=true session_schedule=constant",
    "control-sac": f"{without(CONTROL, *ASKED)} method=sac unsup_steps=0",
    "control-prefppo": f"{without(CONTROL, *REPLAY)} method=prefppo envs_per_member=1 seed_steps=0 unsup_steps=1000 "
    "session_every=100 total_steps=1400 method.rollout_len=100 method.num_epochs=2 method.pretraining_epochs=2 "
    "method.hidden=[16]",
    "control-crowd": f"{CONTROL} method=pebble crowd=reliability teacher.kind=stochastic",
    # preferences in a kitchen, by SAC
    "sac-pebble": f"{SAC} method=pebble {PAID}",
    "sac-surf": f"{SAC} {SURF} {PAID} {FEW} reward.crop_margin=1",
    "sac-rune": f"{SAC} method=rune {PAID}",
    "sac-qpa": f"{SAC} method=qpa {PAID} {FEW} reward.train_amount=3",
    "sac-mrn-released": f"{SAC} method=mrn method.form=released method.every=80 {PAID}",
    "sac-mrn-corrected": f"{SAC} method=mrn method.form=corrected method.every=80 {PAID}",
    "sac-ours": f"{SAC} method=ours method.meta_every=80 {PAID}",
    "sac-sac": f"{without(SAC, *ASKED)} method=sac unsup_steps=0",
    # preferences in a kitchen, by PPO
    "ppo-pebble": f"{BY_PPO} method=pebble {PAID}",
    "ppo-surf": f"{BY_PPO} {SURF} {PAID} {FEW} reward.crop_margin=1",
    "ppo-mrn-released": f"{BY_PPO} method=mrn method.form=released method.every=80 {PAID}",
    "ppo-mrn-corrected": f"{BY_PPO} method=mrn method.form=corrected method.every=80 {PAID}",
    "ppo-true_reward": f"{without(BY_PPO, *ASKED)} method=true_reward unsup_steps=0",
    "ppo-sees-states": f"{BY_PPO} method=mrn method.every=80 {PAID} {RAW} reward_sees_partner=true",
    "rlhf": f"rlhf members=2 horizon=40 episodes=2 {LABELS} refresh_labels=2 refresh_every=160 {PAID} query.length=10 "
    "imitation.epochs=1 value_updates=1 algo.num_envs=4 algo.rollout_len=20 algo.total_steps=320 threads=1 seed=3",
    "ppo-from-imitation": f"{BY_PPO} method=mrn method.every=80 {PAID} init_from={{rlhf}}/imitation value_updates=2 "
    "algo.hidden=[64,64]",
    # warnings
    "kitchen-hazards": f"{SAC} method=pebble {PAID} {HAZARDS} safety.gate=0.95",
    "kitchen-hazards-ppo": f"{BY_PPO} method=mrn method.every=80 {PAID} {HAZARDS}",
    "island-pebble": f"safety {ISLAND} arms=[plain,full,gated]",
    "island-mrn": f"safety {ISLAND} learns_by=mrn arms=[plain,full]",
    "island-direct": f"safety {ISLAND} arms=[parenting,jpal_ha]",
    # figures
    "evaluate": f"evaluate ego={{uniform}} partners=random,stay,{{mep}} {GAMES}",
    "evaluate-context": f"evaluate ego={{pecan}} partners=greedy,{{fcp}} {GAMES} games_in_a_row=2 context=both",
    "evaluate-recurrent": f"evaluate ego={{recurrent}} partners={{fcp}} {GAMES} stochastic=false",
    "crossplay": "crossplay pool={fcp} episodes=2 horizon=60 seed=3",
    "theory": "theory seeds=2 horizons=[16,32,64] seed=3",
    "crowd": "crowd experiment seeds=2 queries=20 seed=3",
}


def tensors(file: Path) -> Iterator[tuple[str, str, bytes]]:
    """Name, dtype with shape, and bytes of every tensor of a safetensors file; what else its header says is dropped."""
    data = file.read_bytes()
    start = 8 + int.from_bytes(data[:8], "little")
    for name, entry in json.loads(data[8:start]).items():
        if name != "__metadata__":
            first, last = entry["data_offsets"]
            yield name, f"{entry['dtype']}{entry['shape']}", data[start + first : start + last]


def digest(parts: list[bytes]) -> str:
    """SHA-256 of the parts, in sorted order; `-` for none."""
    total = hashlib.sha256()
    for part in sorted(parts):
        total.update(hashlib.sha256(part).digest())
    return total.hexdigest() if parts else "-"


def numbers(value: Any) -> Iterator[str]:
    """Every number of a JSON value that is a result: not of times and provenance."""
    if isinstance(value, dict):
        circumstances = "second|minute|time|_s$|provenance|schema|threads"
        value = [part for key, part in value.items() if not re.search(circumstances, key)]
    if isinstance(value, list):
        for part in value:
            yield from numbers(part)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield repr(float(value))


def chosen(word: str) -> list[str]:
    """The cases with `word` in their names and all that they need."""
    wanted: set[str] = set()
    for name in reversed(CASES):  # a case stands below those that it needs
        if word in name or name in wanted:
            wanted |= {name, *re.findall(r"{([\w-]+)}", CASES[name])}
    return [name for name in CASES if name in wanted]


def command(name: str) -> list[str]:
    """The words of a case."""
    words = shlex.split(re.sub(r"{([\w-]+)}", r"\1", CASES[name]))
    return [*words, f"out={name}.json" if words[0] == "evaluate" else f"out={name}"]


def play(name: str) -> tuple[int, float]:
    """Run a case in a process of its own, so that none sees what another left in memory; exit code, seconds of CPU."""
    child = os.fork()
    if child:
        _, status, used = os.wait4(child, 0)
        return os.waitstatus_to_exitcode(status), used.ru_utime + used.ru_stime
    try:
        with open(f"{name}.log", "w") as log:
            os.dup2(log.fileno(), 1)
            os.dup2(log.fileno(), 2)
        entry = next(iter(importlib.metadata.entry_points(group="console_scripts", name="coord")))
        code = entry.load()(command(name))
    except BaseException:
        code = 70
        traceback.print_exc()
    sys.stdout.flush()
    os._exit(code)


def result(name: str) -> tuple[str, str]:
    """Hashes of what a case left: its agents, and the floating-point numbers that training would go on with.

    An agent's tensors count with file, name, dtype and shape; the names of the others may change.
    """
    files = [file for file in Path(name).rglob("*.safetensors") if file.parent.name != "episodes"]
    found = [(file, *tensor) for file in files for tensor in tensors(file)]
    agents = [f"{f.name} {key} {kind} ".encode() + raw for f, key, kind, raw in found if f.parent.name != "ckpt"]
    state = [
        kind.encode() + raw for f, _, kind, raw in found if f.parent.name == "ckpt" and "F" in kind and len(raw) > 8
    ]
    figures = [*Path().glob(f"{name}.json"), *sorted(Path(name).glob("*.json"))]
    listed = [repr(list(numbers(json.loads(file.read_text())))).encode() for file in figures]
    return digest(agents or listed), digest(state)


def told(name: str, before: dict[str, str]) -> tuple[str, bool]:
    """Run a case and print its line; the line, and whether all is well, also by the lines of an earlier run."""
    code, seconds = play(name)
    hashes = result(name) if code == 0 else ("-", "-")
    line, verdict = " ".join([name, *hashes]), ""
    if code:
        verdict = f"FAILED, exit code {code}: {Path(f'{name}.log').read_text().strip().splitlines()[-1:]}"
    elif name in before:
        parts = zip(("agents", "state"), hashes, before[name].split(), strict=True)
        changed = [part for part, now, then in parts if now != then]
        verdict = f"DIFFERENT: {' and '.join(changed)}" if changed else ""
    print(f"{line} {seconds:.1f} s  {verdict}".rstrip(), flush=True)
    return line, not verdict


def main() -> int:
    """Run the cases, print a line for each, write or compare; 1 if a case failed or differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="cases with this in their names, and what they need")
    parser.add_argument("--compare", type=Path, help="lines of an earlier run")
    parser.add_argument("--write", type=Path, help="file for the lines of this one")
    asked = parser.parse_args()
    names = chosen(asked.only) or parser.error(f"--only {asked.only}: no case has this in its name")
    before = dict(line.split(None, 1) for line in asked.compare.read_text().splitlines()) if asked.compare else {}
    target = asked.write.absolute() if asked.write else None
    sys.path.remove(str(Path(__file__).parent))  # tests/coord is not the package
    # One thread, also in commands without a field for it; before torch and numba look.
    os.environ.update(OMP_NUM_THREADS="1", MKL_NUM_THREADS="1", NUMBA_NUM_THREADS="1")
    import torch  # noqa: F401  (once here rather than in every child)

    home = tempfile.mkdtemp(prefix="same-numbers-")
    os.chdir(home)
    lines = [told(name, before) for name in names]
    if target:
        target.write_text("".join(f"{line}\n" for line, _ in lines))
    failed = [line.split()[0] for line, fine in lines if not fine]
    print(f"{len(lines)} cases, {len(failed)} failed or different: {' '.join(failed) or '-'}")
    if failed:
        print(f"what they left is in {home}")
    else:
        shutil.rmtree(home)
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
