"""Trains Mimi by a recipe, resumably.

WORK holds the data that prepare.py made; RUN is a folder: checkpoint.pt (everything, to go on from), snapshots/*.pt (averaged
weights, to compare), log.jsonl. Ends after so many minutes, or when the recipe is through; exit code 3 says there is more to
do, so that a loop can call it again.
"""
import argparse
import json
import math
import os
import time
import tomllib
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor

from discriminator import Discriminator, adversarial_losses, discriminator_loss
from losses import SpectralLoss
from model import Mimi
from speech import batches

MORE_TO_DO = 3
CHECKPOINT_SECONDS = 180
LOG_STEPS = 25
#: The envelope loss compares segments of 0.38 s.
FEWEST_FRAMES = 6
#: How much each loss of SpectralLoss and the difference of samples count.
WEIGHTS = {"mel": 1.5, "magnitude": 3.0, "phase": 0.5, "envelope": 0.5, "samples": 1.0}
#: Parameters that a stage with `encoder = false` trains: codes stay as they are.
DECODER = (".upsample.", ".decoder_transformer.", ".decoder.", ".output_proj.")


def load(model: Mimi, path: Path) -> None:
    """Loads a checkpoint of this shape, or of one with shorter kernels: taps further back in time begin as zeros."""
    tensors = {name: tensor.float() for name, tensor in load_file(path / "model.safetensors").items()}
    for name, target in model.state_dict().items():
        missing = target.shape[-1] - tensors[name].shape[-1] if target.dim() else 0
        if missing > 0:
            tensors[name] = F.pad(tensors[name], (missing, 0))
    model.load_state_dict(tensors)


def stage_at(recipe: dict, step: int) -> tuple[dict, float] | None:
    """The stage that a step belongs to, and how much of it is over (0 to 1); None: the recipe is through."""
    for stage in recipe["stages"]:
        if step < stage["steps"]:
            return stage, step / stage["steps"]
        step -= stage["steps"]
    return None


class Trainer:
    def __init__(self, work: Path, recipe: dict, run: Path):
        self.work, self.recipe, self.run = work, recipe, run
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        (run / "snapshots").mkdir(parents=True, exist_ok=True)
        checkpoint = run / "checkpoint.pt"
        saved = torch.load(checkpoint, map_location=self.device) if checkpoint.exists() else None
        self.step = saved["step"] if saved else 0
        torch.manual_seed(recipe["seed"] + self.step)
        self.random = np.random.default_rng([recipe["seed"], self.step])
        self.stage: dict = {}

        self.model = Mimi(recipe["model"]).to(self.device)
        if "from" in recipe and not saved:
            load(self.model, Path(__file__).parent / recipe["from"])
        self.average = {name: tensor.clone() for name, tensor in self.model.state_dict().items()}
        self.spectral = SpectralLoss().to(self.device)
        self.discriminator = Discriminator(recipe["discriminator_channels"]).to(self.device)
        self.optimizer = torch.optim.AdamW(self.model.parameters(), betas=(0.9, 0.99), weight_decay=0.01, fused=True)
        self.discriminator_optimizer = torch.optim.AdamW(self.discriminator.parameters(), betas=(0.8, 0.99), fused=True)
        #: Mean sizes of the two gradients at the decoded audio.
        self.sizes = {"spectral": 0.0, "adversarial": 0.0}
        self.parts = {
            name: getattr(self, name) for name in ("model", "discriminator", "optimizer", "discriminator_optimizer")
        }
        if saved:
            for name, part in self.parts.items():
                part.load_state_dict(saved[name])
            self.average, self.sizes = saved["average"], saved["sizes"]

    def save(self) -> None:
        state = {name: part.state_dict() for name, part in self.parts.items()}
        temporary = self.run / "checkpoint.tmp"
        torch.save({**state, "average": self.average, "sizes": self.sizes, "step": self.step}, temporary)
        os.replace(temporary, self.run / "checkpoint.pt")

    def snapshot(self) -> None:
        torch.save({"config": self.recipe["model"], "tensors": self.average}, self.run / "snapshots" / f"{self.step:06d}.pt")

    def autocast(self) -> torch.autocast:
        return torch.autocast(self.device, dtype=torch.bfloat16)

    def codebooks(self, batch: int) -> Tensor:
        """Quantizer dropout: how many codebooks each row gets. A third gets all."""
        every = self.recipe["model"]["num_quantizers"]
        few = self.random.choice([2, 4, 4, 6, 8, 8, 8, 12, 16, 24], batch)
        return torch.from_numpy(np.where(self.random.random(batch) < 1 / 3, every, np.minimum(few, every))).to(self.device)

    def enter(self, stage: dict, over: float) -> None:
        """What changes with a stage: the shape of batches, and which parameters learn."""
        if stage["frames"] < FEWEST_FRAMES:
            raise ValueError(f'stage "{stage["name"]}": frames is {stage["frames"]}, must be at least {FEWEST_FRAMES}')
        self.stage = stage
        seed = self.recipe["seed"] + self.step
        self.batches = batches(self.work, seed, stage["batch"], stage["frames"], self.recipe["workers"])
        for name, parameter in self.model.named_parameters():
            parameter.requires_grad_(stage["encoder"] or any(part in f".{name}" for part in DECODER))
        refit = stage.get("refit", False) and over == 0
        if stage["quantizer"] and (refit or not self.model.quantizer.ready):
            self.fit_codebooks()
            self.average = {name: tensor.clone() for name, tensor in self.model.state_dict().items()}

    def audio(self) -> Tensor:
        """[batch, 1, samples]"""
        return next(self.batches).to(self.device)

    def fit_codebooks(self) -> None:
        """k-means over enough batches for 100 vectors an entry."""
        vectors = 100 * self.recipe["model"]["codebook_size"]
        latents = []
        with torch.no_grad():
            while len(latents) * self.stage["batch"] * self.stage["frames"] < vectors:
                with self.autocast():
                    latents.append(self.model.encode(self.audio()).float())
            self.model.quantizer.fit(torch.cat(latents))

    def adversarial_gradient(self, original: Tensor, decoded: Tensor, learn: bool, losses: dict) -> Tensor:
        """The gradient at `decoded` that would fool the discriminator, which learns from the same pass."""
        length = min(self.recipe["discriminator_samples"], original.shape[-1])
        begin = int(self.random.integers(original.shape[-1] - length + 1))
        crop = slice(begin, begin + length)
        with self.autocast():
            real, fake = self.discriminator(original[:, crop]), self.discriminator(decoded[:, crop])
        float_ = lambda outputs: [(score.float(), [feature.float() for feature in features]) for score, features in outputs]
        real, fake = float_(real), float_(fake)
        losses["adversarial"], losses["features"] = adversarial_losses(real, fake)
        (gradient,) = torch.autograd.grad(losses["adversarial"] + 2 * losses["features"], decoded, retain_graph=learn)
        if learn:
            losses["discriminator"] = discriminator_loss(real, fake)
            self.discriminator_optimizer.zero_grad()
            losses["discriminator"].backward(inputs=list(self.discriminator.parameters()))
            torch.nn.utils.clip_grad_norm_(self.discriminator.parameters(), 5.0)
            self.discriminator_optimizer.step()
        return gradient

    def balance(self, spectral: Tensor, adversarial: Tensor, share: float) -> Tensor:
        """Their sum, the adversarial one brought to `share` of the spectral one's mean size."""
        for name, gradient in (("spectral", spectral), ("adversarial", adversarial)):
            size = gradient.norm().item()
            self.sizes[name] = 0.98 * self.sizes[name] + 0.02 * size if self.sizes[name] else size
        return spectral + adversarial * (share * self.sizes["spectral"] / max(self.sizes["adversarial"], 1e-12))

    def train_step(self) -> dict[str, Tensor]:
        stage, over = stage_at(self.recipe, self.step)
        if stage != self.stage:
            self.enter(stage, over)
        first, last = stage["learning_rate"]
        rate = last + (first - last) * 0.5 * (1 + math.cos(math.pi * over))
        rate *= min(1, (self.step + 1) / 200)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        for group in self.discriminator_optimizer.param_groups:
            group["lr"] = self.recipe["discriminator_learning_rate"]

        model, losses = self.model, {}
        original = self.audio()
        with self.autocast():
            latents = model.encode(original)
        if stage["quantizer"]:
            decay = 0.99 if stage["encoder"] else None
            latents, losses["commitment"] = model.quantizer(latents.float(), self.codebooks(stage["batch"]), decay)
        else:
            latents = model.quantizer.continuous(latents.float())
        with self.autocast():
            output = model.decode(latents)
        original, output = original[:, 0], output.float()[:, 0]

        # Gradients are first taken at the audio, where they can be weighed against each other.
        decoded = output.detach().requires_grad_()
        losses |= self.spectral(decoded, original)
        losses["samples"] = (decoded - original).abs().mean()
        (gradient,) = torch.autograd.grad(sum(weight * losses[name] for name, weight in WEIGHTS.items()), decoded)
        if stage.get("adversarial", 0) > 0:
            learn = self.step % self.recipe["discriminator_every"] == 0
            adversarial = self.adversarial_gradient(original, decoded, learn, losses)
            gradient = self.balance(gradient, adversarial, stage["adversarial"])

        self.optimizer.zero_grad()
        tensors, gradients = [output], [gradient]
        if stage["quantizer"] and stage["encoder"]:
            tensors, gradients = [*tensors, 0.25 * losses["commitment"]], [*gradients, None]
        torch.autograd.backward(tensors, gradients)
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        if torch.isfinite(norm):
            self.optimizer.step()
        self.step += 1
        self.learn_average()
        return losses

    @torch.no_grad()
    def learn_average(self) -> None:
        """Averages of weights and codebooks; short ones at first."""
        decay = min(self.recipe["average"], (self.step + 1) / (self.step + 10))
        state = self.model.state_dict()
        torch._foreach_lerp_([self.average[name] for name in state], list(state.values()), 1 - decay)

    def train(self, minutes: float) -> bool:
        """Whether the recipe is through."""
        begin = checkpointed = time.monotonic()
        sums: dict[str, list[float]] = {}
        while stage_at(self.recipe, self.step) and time.monotonic() - begin < 60 * minutes:
            for name, loss in self.train_step().items():
                sums.setdefault(name, []).append(loss.item())
            if self.step % LOG_STEPS == 0:
                line = {"step": self.step, "seconds": round(time.monotonic() - begin), "cpu": round(time.process_time())}
                line |= {name: round(sum(values) / len(values), 4) for name, values in sums.items()}
                with open(self.run / "log.jsonl", "a") as log:
                    print(json.dumps(line), file=log)
                print(json.dumps(line), flush=True)
                sums = {}
            if self.step % self.recipe["snapshot_steps"] == 0:
                self.snapshot()
            if time.monotonic() - checkpointed > CHECKPOINT_SECONDS:
                self.save()
                checkpointed = time.monotonic()
        self.save()
        through = stage_at(self.recipe, self.step) is None
        if through:
            self.snapshot()
        return through


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("work", type=Path)
    arguments.add_argument("recipe", type=Path)
    arguments.add_argument("run", type=Path)
    arguments.add_argument("--minutes", type=float, default=8)
    given = arguments.parse_args()
    recipe = tomllib.loads(given.recipe.read_text())
    torch.set_num_threads(recipe["threads"])
    return 0 if Trainer(given.work, recipe, given.run).train(given.minutes) else MORE_TO_DO


if __name__ == "__main__":
    raise SystemExit(main())
