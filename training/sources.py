"""Where the speech comes from: Debian packages, their licences and attributions, and what is read of each."""
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Iterator

#: Packages that prepare.sh downloads and unpacks, without installing them: recordings.
RECORDED = [
    *(f"asterisk-core-sounds-{language}-g722" for language in ("en", "es", "fr", "it", "ru")),
    "festvox-ru",
    "klettres-data",
    "ktuberling-data",
]
#: Packages that are installed: synthesisers and their voices.
INSTALLED = ["flite", "festival", "festvox-us-slt-hts", "festvox-kallpc16k", "festvox-kdlpc16k"]

ATTRIBUTION = """\
Speech that the model was trained on, from packages of Debian 12 (bookworm):

- asterisk-core-sounds-en-g722, asterisk-core-sounds-es-g722: spoken by Allison Smith, CC-BY-SA 3.0
- asterisk-core-sounds-fr-g722: spoken by June Wallack, CC-BY-SA 3.0
- asterisk-core-sounds-it-g722: spoken by Carlo Flora, CC-BY 3.0
- asterisk-core-sounds-ru-g722: provided by Maxim Topal, ivrvoice.ru, CC-BY 3.0
- festvox-ru: database (c) 2005 Nickolay V. Shmyrev, BSD-like
- flite (voices slt, rms, kal16), festival with festvox-us-slt-hts, festvox-kallpc16k and festvox-kdlpc16k: synthetic, permissive

Tested on, never trained on: flite (voice awb); klettres-data and ktuberling-data, GPL-2+.
"""


@dataclass(frozen=True)
class Voice:
    """A synthetic voice that speaks `count` sentences, the first of which is number `first`."""

    name: str
    program: str
    voice: str
    first: int
    count: int


SYNTHETIC = [
    Voice("flite_slt", "flite", "slt", 0, 110),
    Voice("flite_rms", "flite", "rms", 110, 110),
    Voice("flite_awb", "flite", "awb", 220, 110),
    Voice("flite_kal16", "flite", "kal16", 330, 110),
    Voice("fest_cmu_us_slt_arctic_hts", "festival", "cmu_us_slt_arctic_hts", 440, 90),
    Voice("fest_kal_diphone", "festival", "kal_diphone", 530, 60),
    Voice("fest_ked_diphone", "festival", "ked_diphone", 590, 60),
]

#: Sentences cut from the licence texts that every Debian system has in /usr/share/common-licenses.
SENTENCES = (Path(__file__).parent / "sentences.txt").read_text().split("\n")


def sentence_of(voice: Voice, number: int) -> str:
    return SENTENCES[(voice.first + number) % len(SENTENCES)]


def text_of(speaker: str, path: Path) -> str | None:
    """What a synthetic voice says; None: nobody wrote down what is said."""
    voice = next((voice for voice in SYNTHETIC if voice.name == speaker), None)
    return voice and sentence_of(voice, int(path.stem))


def recordings(work: Path) -> Iterator[tuple[str, Path, bool]]:
    """Speaker, file and whether the speaker is a stranger to training, in an order that never changes."""
    unpacked = work / "packages"
    for language in ("en", "es", "fr", "it", "ru"):
        sounds = unpacked / f"asterisk-core-sounds-{language}-g722/usr/share/asterisk/sounds"
        for path in sorted(sounds.rglob("*.g722"), key=str):
            if "/silence/" not in str(path) and not re.search("tone|beep|ring|moh|silence", path.name):
                yield f"ast_{language}", path, False
    russian = unpacked / "festvox-ru/usr/share/festival/voices/russian/msu_ru_nsh_clunits/wav"
    for path in sorted(russian.glob("*.wav")):
        yield "ru_nsh", path, False
    for voice in sorted(SYNTHETIC, key=lambda voice: voice.name + "/"):
        for path in sorted((work / "synthetic" / voice.name).glob("*.wav")):
            yield voice.name, path, False
    klettres = unpacked / "klettres-data/usr/share/klettres"
    for path in sorted(klettres.glob("*/*/*.ogg")):
        yield f"kl_{path.parts[-3]}", path, True
    ktuberling = unpacked / "ktuberling-data/usr/share/ktuberling/sounds"
    for path in sorted(path for end in ("ogg", "opus", "wav") for path in ktuberling.glob(f"*/*.{end}")):
        yield f"kt_{path.parts[-2]}", path, True
