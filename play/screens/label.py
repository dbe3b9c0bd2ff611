"""Comparing two clips: one key per answer, everything else one key further, the mouse for who prefers it."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import pygame

from play.labelling import keys
from play.labelling.clips import Kitchen
from play.labelling.report import AnnotatorReport
from play.labelling.session import LabellingSession
from play.screens import label_pages
from play.screens.host import Host
from play.screens.preferences import key_title
from play.screens.ways import Open
from play.view import theme
from play.view.events import UiEvent
from play.view.frame import FOOTER, banner, draw_dots
from play.view.pair import PairPainter
from play.view.ui import Ui

HEADER, TITLES, TIMELINE, ANSWERS, GAP = 48, 36, 44, 48, 8  # heights in units
ANSWER_BUTTONS = {"left": "Left is better", "equal": "Equally good", "skip": "Cannot tell", "right": "Right is better"}
SHORT = {"left": "Left", "equal": "Equal", "skip": "Skip", "right": "Right"}  # where there is little room
TOOLS = {
    "replay": "Replay", "pause": "Pause", "slower": "Slower", "faster": "Faster", "undo": "Undo", "note": "Note",
    "reasons": "Reasons", "help": "Keys", "leave": "Leave",
}  # fmt: skip
REPEATING = ("step_back", "step_on")  # what goes on while a key is held
BREAK = "A quarter of an hour is over: time for a short break."
TEXTS = {
    "opening": "Opening the label store",
    "drawing": "Drawing the clips",
    "saving": "Saving",
    "waiting": "There is nothing to compare now. New pairs appear here by themselves as soon as the training run asks.",
}
OTHERS_AT_WORK = "The last pairs are with other people; what they leave appears here by itself."


class LabelRegions(NamedTuple):
    """The window cut into its parts."""

    header: pygame.Rect
    titles: tuple[pygame.Rect, pygame.Rect]
    clips: tuple[pygame.Rect, pygame.Rect]
    timeline: pygame.Rect
    answers: pygame.Rect
    footer: pygame.Rect


def regions(ui: Ui) -> LabelRegions:
    """Where everything goes."""
    width, height = ui.size
    gap, side = ui.px(GAP), ui.px(16)
    footer = pygame.Rect(0, height - ui.px(FOOTER), width, ui.px(FOOTER))
    answers = pygame.Rect(side, footer.top - gap - ui.px(ANSWERS), width - 2 * side, ui.px(ANSWERS))
    timeline = pygame.Rect(side, answers.top - ui.px(TIMELINE), answers.width, ui.px(TIMELINE))
    top = ui.px(HEADER) + ui.px(TITLES)
    half = (answers.width - 2 * gap) // 2
    lefts = (side, width - side - half)
    titles = [pygame.Rect(x, ui.px(HEADER), half, ui.px(TITLES)) for x in lefts]
    clips = [pygame.Rect(x, top, half, max(ui.px(64), timeline.top - gap - top)) for x in lefts]
    return LabelRegions(
        pygame.Rect(0, 0, width, ui.px(HEADER)), (titles[0], titles[1]), (clips[0], clips[1]), timeline, answers, footer
    )


class LabelScreen:
    """The pair on the screen; what a key does is in `play/labelling/keys.py`, what then happens in the session."""

    lively = True  # the clips run

    def __init__(self, app: Host, session: LabellingSession, *, title: str, question: str, reasons: tuple[str, ...]):
        self.app, self.session = app, session
        self.title, self.question, self.reasons = title, question, reasons
        self.report: AnnotatorReport | None = None
        self._reported_for: object = None
        self._painter: PairPainter | None = None
        self._spots: list[tuple[pygame.Rect, str]] = []  # what can be clicked, as drawn last
        self._track = pygame.Rect(0, 0, 1, 1)
        self._is_dragging = False
        self._mouse = (-1, -1)
        self._now_s = app.clock()

    @property
    def name(self) -> str:
        """What the window's title says: the phase and how far it is."""
        progress = self.session.progress
        return f"label, {self.session.phase}" + (f", {progress.done} done" if progress else "")

    # -- what happens ----------------------------------------------------------------------------------------------

    def handle(self, event: UiEvent) -> None:
        if event.kind in ("click", "unclick", "move"):
            self._point(event)
        elif event.kind == "press":
            if self.session.phase == "problem" and event.nav == "confirm":
                self.session.retry()
                return
            action = keys.action_of(event.key, self.app.settings.label_keys)
            if action is not None and (not event.repeat or action in REPEATING):
                self.act(action)

    def act(self, action: str) -> None:
        """Do what a key or a button stands for."""
        if action in ANSWER_BUTTONS:
            self.session.answer(action)
        elif action.startswith("unsafe"):
            self._flag(0 if action == "unsafe_left" else 1)
        else:
            ACTS[action](self)

    def _flag(self, side: int) -> None:
        if self.session.phase != "showing" or self.session.pair is None:
            return
        self.session.flag(side)
        if self.session.draft.unsafe[side]:
            self._ask_reasons()

    def _ask_reasons(self) -> None:
        if self.session.phase == "showing" and any(self.session.draft.unsafe):
            self.app.go(Open(label_pages.ReasonsPage(self.app, self.session, self.reasons)))
        elif self.session.phase == "showing":
            self.session.notice = "Mark the left or the right clip as unsafe first."

    def _write_note(self) -> None:
        if self.session.phase == "showing":
            self.app.go(Open(label_pages.NotePage(self.app, self.session)))

    def _pause(self) -> None:
        self.session.playback.playing = not self.session.playback.playing

    def _step(self, by: int) -> None:
        self.session.playback.seek(self.session.playback.frame + by)

    def _leave(self) -> None:
        self.app.go(Open(label_pages.break_page(self.app, self.session)))

    def _point(self, event: UiEvent) -> None:
        self._mouse = event.pos
        if event.kind == "click":
            self._is_dragging = self._track.inflate(0, self.app.ui.px(20)).collidepoint(event.pos)
            for rect, action in self._spots:
                if rect.collidepoint(event.pos):
                    self.act(action)
                    return
        if event.kind == "unclick":
            self._is_dragging = False
        if self._is_dragging and self.session.pair is not None:
            part = (event.pos[0] - self._track.left) / max(1, self._track.width)
            self.session.playback.seek(round(part * (self.session.playback.length - 1)))

    def update(self, now_s: float) -> None:
        """Let the clips run, take in what came from disk and from the drawing process."""
        self._now_s = now_s
        self.session.update(now_s)
        if self.session.phase == "over" and self._reported_for != self.session.progress:
            self._reported_for = self.session.progress
            self.session.ask_report(self._take_report)

    def _take_report(self, report: AnnotatorReport | None) -> None:
        self.report = report

    # -- what is seen ----------------------------------------------------------------------------------------------

    def draw(self, surface: pygame.Surface) -> None:
        ui, where = self.app.ui, regions(self.app.ui)
        surface.fill(theme.BACKGROUND)
        self._spots = []
        self._draw_header(surface, ui, where.header)
        phase = self.session.phase
        if phase in ("showing", "saving") and self.session.task is not None:
            self._draw_pair(surface, ui, where)
        else:
            self._draw_message(surface, ui, where, phase)
        self._draw_tools(surface, ui, where.footer)

    def _draw_header(self, surface: pygame.Surface, ui: Ui, header: pygame.Rect) -> None:
        surface.fill(theme.PANEL, header)
        room, middle = header.width * 3 // 10 - ui.px(16), header.width * 4 // 10 - ui.px(16)
        ui.text(surface, self.title, (ui.px(16), header.centery), theme.SMALL, theme.MUTED, "midleft", width=room)
        if self.session.task is not None:
            ui.text(surface, self.question, header.center, theme.HEAD, theme.TEXT, "center", width=middle)
        progress = self.session.progress
        if progress is None:
            return
        total = progress.done + progress.open
        left_s, done = self.session.left_s, f"{progress.done} of {total} done"
        text = _fitting(ui, room, f"{done}, {time_left(left_s)}" if left_s else done, done)
        right = (header.right - ui.px(16), header.centery)
        ui.text(surface, text, right, theme.SMALL, theme.TEXT, "midright", width=room)
        bar = pygame.Rect(0, header.bottom - ui.px(4), header.width, ui.px(4))
        surface.fill(theme.RAISED, bar)
        bar.width = bar.width * progress.done // max(1, total)
        surface.fill(theme.ORANGE, bar)

    def _draw_pair(self, surface: pygame.Surface, ui: Ui, where: LabelRegions) -> None:
        session = self.session
        for side, title in enumerate(("Left", "Right")):
            self._draw_title(surface, ui, where.titles[side], side, title)
        if session.pair is None:
            self._draw_missing(surface, ui, where)
        else:
            key = (session.pair, session.task.left, ui, tuple(where.clips[0]))
            if self._painter is None or not _same(self._painter.key, key):
                self._painter = PairPainter(session.pair, session.task.left, ui, where.clips)
            playback = session.playback
            self._painter.draw(surface, playback.frame, playback.alpha, session.draft.unsafe, self._now_s)
            self._draw_timeline(surface, ui, where.timeline)
        self._draw_answers(surface, ui, where.answers)
        notice = session.notice or (BREAK if session.wants_break else "")
        if notice:
            banner(surface, ui, notice, where.clips[0].bottom - ui.px(52), theme.ORANGE)

    def _draw_title(self, surface: pygame.Surface, ui: Ui, row: pygame.Rect, side: int, title: str) -> None:
        """The side's name, and the chip that marks it as unsafe."""
        name = ui.text(surface, title, (row.left + ui.px(4), row.centery), theme.BODY, theme.TEXT, "midleft")
        if self.session.pair is None:
            return
        is_unsafe = self.session.draft.unsafe[side]
        action = ("unsafe_left", "unsafe_right")[side]
        cap, label = self._cap(ui, action), "Unsafe" if is_unsafe else "Mark unsafe"
        font = ui.font(theme.SMALL)
        chip = pygame.Rect(0, 0, font.size(label)[0] + ui.cap_width(cap) + ui.px(40), ui.px(28))
        chip.midright = row.midright
        ink = theme.INK if is_unsafe else theme.MUTED
        ui.box(surface, chip, theme.VERMILION if is_unsafe else theme.PANEL, 6, self._edge(chip), 1)
        icon = ui.icon("cross" if is_unsafe else "triangle", ui.px(12), ink)
        surface.blit(icon, icon.get_rect(midleft=(chip.left + ui.px(8), chip.centery)))
        ui.text(surface, label, (chip.left + ui.px(26), chip.centery), theme.SMALL, ink, "midleft")
        ui.key_cap(surface, cap, (chip.right - ui.cap_width(cap) - ui.px(4), chip.centery))
        self._spots.append((chip, action))
        clip = self.session.pair.sides[self.session.task.left ^ side]
        if isinstance(clip, Kitchen) and clip.seat is not None:
            at, room = (name.right + ui.px(16), row.centery), chip.left - name.right - ui.px(24)
            judged = _fitting(ui, room, f"judge cook {clip.seat + 1}, under the arrow", f"cook {clip.seat + 1}")
            ui.text(surface, judged, at, theme.SMALL, theme.MUTED, "midleft", width=room)

    def _draw_missing(self, surface: pygame.Surface, ui: Ui, where: LabelRegions) -> None:
        area = where.clips[0].union(where.clips[1])
        ui.box(surface, area, theme.PANEL, 6, theme.LINE, 1)
        inside = area.inflate(-ui.px(64), -ui.px(32))
        y = ui.paragraph(surface, "This pair cannot be shown", inside, theme.HEAD, theme.ALERT, center=True)
        inside.top = y + ui.px(8)
        skip, again = self._cap(ui, "skip"), self._cap(ui, "replay")
        text = f"{self.session.clip_problem}\n{skip} skips it, {again} tries once more."
        ui.paragraph(surface, text, inside, theme.BODY, center=True)

    def _draw_timeline(self, surface: pygame.Surface, ui: Ui, row: pygame.Rect) -> None:
        playback, draft = self.session.playback, self.session.draft
        self._track = pygame.Rect(row.left, row.top + ui.px(4), row.width, ui.px(6))
        ui.box(surface, self._track, theme.RAISED, 3)
        x = self._track.left + self._track.width * playback.frame // max(1, playback.length - 1)
        ui.box(surface, pygame.Rect(self._track.topleft, (max(ui.px(6), x - row.left), ui.px(6))), theme.ORANGE, 3)
        knob = ui.icon("circle", ui.px(14), theme.TEXT)
        surface.blit(knob, knob.get_rect(center=(x, self._track.centery)))
        y = row.bottom - ui.px(17)
        state = "playing" if playback.playing else "paused"
        place = f"frame {playback.frame + 1} of {playback.length}"
        text = f"{state} at {playback.speed:g}x, {place}, {self.session.looked_s:.0f} s"
        ui.text(surface, text, (row.left, y), theme.SMALL, theme.MUTED, "midleft")
        parts = [f"unsafe: {', '.join(draft.reasons).replace('_', ' ')}"] if draft.reasons else []
        parts += [f"note: {draft.note}"] if draft.note else []
        room = row.width // 2
        ui.text(surface, "; ".join(parts), (row.right, y), theme.SMALL, theme.TEXT, "midright", width=room)

    def _draw_answers(self, surface: pygame.Surface, ui: Ui, row: pygame.Rect) -> None:
        gap = ui.px(GAP)
        width = (row.width - gap * (len(ANSWER_BUTTONS) - 1)) // len(ANSWER_BUTTONS)
        fits = all(self._button_width(ui, action, label) <= width for action, label in ANSWER_BUTTONS.items())
        for place, (action, label) in enumerate((ANSWER_BUTTONS if fits else SHORT).items()):
            box = pygame.Rect(row.left + place * (width + gap), row.top, width, row.height)
            can = self.session.phase == "showing" and (self.session.pair is not None or action == "skip")
            ui.box(surface, box, theme.RAISED if can else theme.PANEL, 6, self._edge(box), 2)
            cap = self._cap(ui, action)
            ink, inner = theme.TEXT if can else theme.MUTED, ui.cap_width(cap) + ui.px(10)
            left = box.centerx - (ui.font(theme.BODY).size(label)[0] + inner) // 2
            ui.key_cap(surface, cap, (left, box.centery))
            ui.text(surface, label, (left + inner, box.centery), theme.BODY, ink, "midleft")
            self._spots.append((box, action))

    def _button_width(self, ui: Ui, action: str, label: str) -> int:
        return ui.cap_width(self._cap(ui, action)) + ui.px(26) + ui.font(theme.BODY).size(label)[0]

    def _draw_tools(self, surface: pygame.Surface, ui: Ui, footer: pygame.Rect) -> None:
        """A row of keys that can be clicked as well; what is too long is dropped, "All keys" tells it."""
        surface.fill(theme.PANEL, footer)
        gap, font = ui.px(14), ui.font(theme.SMALL)
        shown = [(action, label, self._cap(ui, action)) for action, label in TOOLS.items()]
        widths = {action: ui.cap_width(cap) + ui.px(6) + font.size(label)[0] for action, label, cap in shown}
        for action in ("faster", "slower", "reasons", "pause", "note", "replay"):
            if sum(widths.values()) + gap * len(widths) > footer.width - ui.px(16):
                widths.pop(action)
        x = footer.centerx - (sum(widths.values()) + gap * (len(widths) - 1)) // 2
        for action, label, cap in shown:
            if action not in widths:
                continue
            box = pygame.Rect(x, footer.top, widths[action], footer.height)
            key = ui.key_cap(surface, cap, (x, footer.centery))
            ink = theme.TEXT if box.collidepoint(self._mouse) else theme.MUTED
            ui.text(surface, label, (key.right + ui.px(6), footer.centery), theme.SMALL, ink, "midleft")
            self._spots.append((box, action))
            x += widths[action] + gap

    def _draw_message(self, surface: pygame.Surface, ui: Ui, where: LabelRegions, phase: str) -> None:
        """What is shown while there is no pair."""
        area = pygame.Rect(0, where.titles[0].top, ui.size[0], where.footer.top - where.titles[0].top)
        inside = area.inflate(-ui.px(160), -ui.px(64))
        if phase == "over":
            self._draw_end(surface, ui, inside)
            return
        text, color = TEXTS.get(phase, ""), theme.TEXT
        if phase == "waiting" and self.session.progress is not None and self.session.progress.open:
            text = OTHERS_AT_WORK
        if phase == "problem":
            text, color = (
                f"{self.session.problem}\nNothing that was shown as done is lost. Enter tries again.",
                theme.ALERT,
            )
        inside.top = area.centery - ui.px(64)
        y = ui.paragraph(surface, text, inside, theme.BODY, color, center=True)
        if phase != "problem":
            draw_dots(surface, ui, (area.centerx, y + ui.px(40)), self._now_s)

    def _draw_end(self, surface: pygame.Surface, ui: Ui, area: pygame.Rect) -> None:
        y = ui.paragraph(surface, "All pairs are done. Thank you!", area, theme.HEAD, theme.TEXT, center=True)
        for name, value in self.report.lines() if self.report is not None else ():
            y += ui.line_height(theme.SMALL)
            middle = area.left + area.width * 45 // 100
            ui.text(surface, name.strip(), (middle - ui.px(12), y), theme.SMALL, theme.MUTED, "topright")
            room = area.right - middle
            ui.text(surface, value, (middle + ui.px(12), y), theme.SMALL, theme.TEXT, width=room)

    def _cap(self, ui: Ui, action: str) -> str:
        """The key that is shown for an action: of the device used last, if it has one there."""
        bound = keys.bound(self.app.settings.label_keys)[action]
        wanted = [key for key in bound if key.startswith("pad") == (ui.device == "pad")]
        return key_title((wanted or list(bound))[0])

    def _edge(self, box: pygame.Rect) -> theme.Color:
        return theme.ORANGE if box.collidepoint(self._mouse) else theme.LINE

    def close(self) -> None:
        """Wait for an answer that is on its way to the disk."""
        self.session.close()


ACTS: dict[str, Callable[[LabelScreen], None]] = {
    "reasons": LabelScreen._ask_reasons,
    "note": LabelScreen._write_note,
    "undo": lambda screen: screen.session.undo(),
    "replay": lambda screen: screen.session.replay(),
    "pause": LabelScreen._pause,
    "slower": lambda screen: screen.session.playback.faster(-1),
    "faster": lambda screen: screen.session.playback.faster(1),
    "step_back": lambda screen: screen._step(-1),
    "step_on": lambda screen: screen._step(1),
    "help": lambda screen: screen.app.go(Open(label_pages.KeysPage(screen.app))),
    "leave": LabelScreen._leave,
}


def time_left(seconds: float) -> str:
    """An estimate in words, no finer than it is known."""
    if seconds < 60:
        return "under a minute left"
    return f"about {round(seconds / 60)} min left" if seconds < 5400 else f"about {seconds / 3600:.1f} h left"


def _fitting(ui: Ui, room: int, long: str, short: str) -> str:
    """The long text if it fits into `room` px, else the short one."""
    return long if ui.font(theme.SMALL).size(long)[0] <= room else short


def _same(first: tuple[object, ...], second: tuple[object, ...]) -> bool:
    """Whether two keys name the same things; pairs hold arrays, which cannot be compared by `==`."""
    return all(a is b or (isinstance(a, int | tuple) and a == b) for a, b in zip(first, second, strict=True))
