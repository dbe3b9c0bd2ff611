"""Short synthesised sounds. Off unless switched on; a machine without a sound device stays silent and says so."""

from __future__ import annotations

import numpy as np
import pygame

RATE = 44100
VOLUME = 0.25
FADE_S = 0.004  # in and out, so that nothing clicks

# name -> notes (frequency in Hz, seconds), played one after another
TUNES: dict[str, tuple[tuple[float, float], ...]] = {
    "move": ((330.0, 0.03),),
    "accept": ((523.3, 0.05), (784.0, 0.07)),
    "pick": ((440.0, 0.05),),
    "put": ((330.0, 0.05),),
    "pot": ((262.0, 0.06), (330.0, 0.06)),
    "ready": ((784.0, 0.09), (988.0, 0.12)),
    "deliver": ((523.3, 0.09), (659.3, 0.09), (784.0, 0.16)),
    "count": ((440.0, 0.1),),
    "go": ((880.0, 0.25),),
    "trouble": ((196.0, 0.2), (165.0, 0.25)),
}
EVENT_TUNES = {  # kitchen event -> tune; the first that happened in a tick is played
    "delivery": "deliver",
    "pot_started": "pot",
    "placement_in_pot": "put",
    "soup_pickup": "pick",
    "onion_from_dispenser": "pick",
    "tomato_from_dispenser": "pick",
    "dish_from_dispenser": "pick",
}


def wave(notes: tuple[tuple[float, float], ...]) -> np.ndarray:
    """[samples, 2] int16: soft triangle tones, faded at both ends."""
    parts = []
    for frequency, seconds in notes:
        t = np.arange(round(seconds * RATE)) / RATE
        tone = 2 / np.pi * np.arcsin(np.sin(2 * np.pi * frequency * t))
        fade = np.minimum(1.0, np.minimum(t, seconds - t) / FADE_S)
        parts.append(tone * fade * np.exp(-4 * t))
    mono = (np.concatenate(parts) * VOLUME * 32767).astype(np.int16)
    return np.repeat(mono[:, None], 2, axis=1)


class Sound:
    """Plays tunes by name. `problem` is one line when the machine has no usable sound device."""

    def __init__(self) -> None:
        self.on = False
        self.problem = ""
        self._sounds: dict[str, pygame.mixer.Sound] = {}

    def switch(self, on: bool) -> None:
        """Turn sound on or off; opening the device happens here, once."""
        self.on = False
        self.problem = ""
        if not on:
            return
        try:
            if not pygame.mixer.get_init():
                pygame.mixer.init(RATE, -16, 2, 512)
            if not self._sounds:
                self._sounds = {name: pygame.sndarray.make_sound(wave(notes)) for name, notes in TUNES.items()}
            self.on = True
        except (pygame.error, ValueError) as err:
            self.problem = f"no sound: {str(err).splitlines()[0]}"

    def play(self, name: str) -> None:
        """Play one tune over whatever sounds now; nothing when off."""
        if self.on:
            self._sounds[name].play()

    def play_events(self, names: set[str]) -> None:
        """Play what the events of a tick call for."""
        tune = next((tune for event, tune in EVENT_TUNES.items() if event in names), "")
        if tune:
            self.play(tune)
