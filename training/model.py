"""Mimi in PyTorch, lean and whole-utterance only. Parameters have the names of the official Hugging Face layout.

Shapes are [batch, channels, positions]. `config` is the dictionary of a config.json.
"""
import torch
import torch.nn.functional as F
from torch import Tensor, nn


class _Elu(torch.autograd.Function):
    """ELU that keeps its output for the backward pass instead of its input: the next convolution keeps it anyway."""

    @staticmethod
    def forward(ctx, x: Tensor) -> Tensor:
        y = F.elu(x)
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx, gradient: Tensor) -> Tensor:
        (y,) = ctx.saved_tensors
        return torch.ops.aten.elu_backward(gradient, 1.0, 1.0, 1.0, True, y)


class Elu(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return _Elu.apply(x)


class Conv(nn.Module):
    """A causal convolution; lengths are multiples of the stride."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, dilation: int = 1, bias: bool = True, replicate: bool = False):
        super().__init__()
        self.conv = nn.Conv1d(inputs, outputs, kernel, stride, dilation=dilation, bias=bias)
        self.padding = (kernel - 1) * dilation + 1 - stride
        self.replicate = replicate
        nn.init.kaiming_normal_(self.conv.weight, nonlinearity="linear")
        if bias:
            nn.init.zeros_(self.conv.bias)

    def forward(self, x: Tensor) -> Tensor:
        if self.padding and self.replicate:
            x = torch.cat([x[..., :1].expand(-1, -1, self.padding), x], -1)
        elif self.padding:
            x = F.pad(x, (self.padding, 0))
        return self.conv(x)


class ConvTranspose(nn.Module):
    """A causal transposed convolution with a kernel of twice the stride: what reaches past the end is cut off."""

    def __init__(self, inputs: int, outputs: int, stride: int, groups: int = 1, bias: bool = True):
        super().__init__()
        self.conv = nn.ConvTranspose1d(inputs, outputs, 2 * stride, stride, groups=groups, bias=bias)
        self.stride = stride
        # Each output is a sum over two positions of inputs / groups channels.
        nn.init.normal_(self.conv.weight, std=(0.5 * groups / inputs) ** 0.5)
        if groups == inputs:
            nn.init.constant_(self.conv.weight, 0.5)
        if bias:
            nn.init.zeros_(self.conv.bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x)[..., : x.shape[-1] * self.stride]


class Residual(nn.Module):
    def __init__(self, channels: int, kernel: int, dilation: int, compress: int):
        super().__init__()
        hidden = channels // compress
        self.block = nn.ModuleList([Elu(), Conv(channels, hidden, kernel, dilation=dilation), Elu(), Conv(hidden, channels, 1)])
        self.block[3].conv.weight.data *= 0.5

    def forward(self, x: Tensor) -> Tensor:
        y = x
        for layer in self.block:
            y = layer(y)
        return x + y


class Layers(nn.Module):
    """A chain of layers under the name `layers`."""

    def __init__(self, layers: list[nn.Module]):
        super().__init__()
        self.layers = nn.ModuleList(layers)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x)
        return x


def residuals(config: dict, channels: int) -> list[nn.Module]:
    return [
        Residual(channels, config["residual_kernel_size"], config["dilation_growth_rate"] ** i, config["compress"])
        for i in range(config["num_residual_layers"])
    ]


def seanet_encoder(config: dict) -> Layers:
    channels = config["num_filters"]
    layers: list[nn.Module] = [Conv(1, channels, config["kernel_size"])]
    for ratio in reversed(config["upsampling_ratios"]):
        layers += [*residuals(config, channels), Elu(), Conv(channels, 2 * channels, 2 * ratio, ratio)]
        channels *= 2
    return Layers([*layers, Elu(), Conv(channels, config["hidden_size"], config["last_kernel_size"])])


def seanet_decoder(config: dict) -> Layers:
    channels = config["num_filters"] * 2 ** len(config["upsampling_ratios"])
    layers: list[nn.Module] = [Conv(config["hidden_size"], channels, config["kernel_size"])]
    for ratio in config["upsampling_ratios"]:
        layers += [Elu(), ConvTranspose(channels, channels // 2, ratio), *residuals(config, channels // 2)]
        channels //= 2
    return Layers([*layers, Elu(), Conv(channels, 1, config["last_kernel_size"])])


class Scale(nn.Module):
    def __init__(self, channels: int, value: float):
        super().__init__()
        self.scale = nn.Parameter(torch.full((channels,), value))

    def forward(self, x: Tensor) -> Tensor:
        return self.scale * x


class Attention(nn.Module):
    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        for name in ("q_proj", "k_proj", "v_proj", "o_proj"):
            setattr(self, name, nn.Linear(width, width, bias=False))

    def forward(self, x: Tensor, cosine: Tensor, sine: Tensor, mask: Tensor) -> Tensor:
        batch, positions, width = x.shape

        def heads(y: Tensor) -> Tensor:
            return y.view(batch, positions, self.heads, -1).transpose(1, 2)

        def rotate(y: Tensor) -> Tensor:
            first, second = y.chunk(2, -1)
            return (y * cosine + torch.cat([-second, first], -1) * sine).to(y.dtype)

        query, key, value = heads(self.q_proj(x)), heads(self.k_proj(x)), heads(self.v_proj(x))
        y = F.scaled_dot_product_attention(rotate(query), rotate(key), value, attn_mask=mask)
        return self.o_proj(y.transpose(1, 2).reshape(batch, positions, width))


class FeedForward(nn.Module):
    def __init__(self, width: int, hidden: int):
        super().__init__()
        self.fc1 = nn.Linear(width, hidden, bias=False)
        self.fc2 = nn.Linear(hidden, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.fc1(x)))


class TransformerLayer(nn.Module):
    def __init__(self, config: dict):
        super().__init__()
        width = config["hidden_size"]
        self.input_layernorm = nn.LayerNorm(width, eps=config["norm_eps"])
        self.self_attn = Attention(width, config["num_attention_heads"])
        self.self_attn_layer_scale = Scale(width, config["layer_scale_initial_scale"])
        self.post_attention_layernorm = nn.LayerNorm(width, eps=config["norm_eps"])
        self.mlp = FeedForward(width, config["intermediate_size"])
        self.mlp_layer_scale = Scale(width, config["layer_scale_initial_scale"])

    def forward(self, x: Tensor, *attention: Tensor) -> Tensor:
        x = x + self.self_attn_layer_scale(self.self_attn(self.input_layernorm(x), *attention))
        return x + self.mlp_layer_scale(self.mlp(self.post_attention_layernorm(x)))


class Transformer(nn.Module):
    def __init__(self, config: dict):
        super().__init__()
        self.layers = nn.ModuleList(TransformerLayer(config) for _ in range(config["num_hidden_layers"]))
        self.window = config["sliding_window"]
        width = config["hidden_size"] // config["num_attention_heads"]
        frequencies = 10000 ** (-torch.arange(0, width, 2).float() / width)
        self.register_buffer("frequencies", frequencies, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        x = x.transpose(1, 2)
        time = torch.arange(x.shape[1], device=x.device)
        angle = torch.outer(time.float(), self.frequencies).repeat(1, 2)
        age = time[:, None] - time[None]
        mask = (age >= 0) & (age < self.window)
        for layer in self.layers:
            x = layer(x, angle.cos(), angle.sin(), mask)
        return x.transpose(1, 2)


class Codebook(nn.Module):
    """Entries are kept as a decayed sum and count of the vectors that chose them, so that training moves them by means."""

    def __init__(self, size: int, width: int):
        super().__init__()
        self.register_buffer("initialized", torch.zeros(1))
        self.register_buffer("cluster_usage", torch.ones(size))
        self.register_buffer("embed_sum", torch.zeros(size, width))

    @property
    def entries(self) -> Tensor:
        return self.embed_sum / self.cluster_usage.clamp(min=1e-5)[:, None]

    def nearest(self, x: Tensor) -> Tensor:
        entries = self.entries
        return ((entries**2).sum(1) - 2 * x @ entries.T).argmin(1)

    def fit(self, x: Tensor, iterations: int = 8) -> None:
        """k-means over vectors, of which there are at least as many as entries; goes on from entries that there are."""
        size = len(self.cluster_usage)
        start = self.entries if self.initialized.item() else x[torch.randperm(len(x), device=x.device)[:size]]
        self.embed_sum.copy_(start)
        self.cluster_usage.fill_(1)
        for _ in range(iterations):
            chosen = self.nearest(x)
            counts = torch.bincount(chosen, minlength=size).float()
            # An empty cluster starts again at some vector.
            some = x[torch.randint(len(x), (size,), device=x.device)]
            sums = torch.zeros_like(self.embed_sum).index_add_(0, chosen, x)
            self.embed_sum.copy_(torch.where((counts > 0)[:, None], sums / counts.clamp(min=1)[:, None], some))
        self.initialized.fill_(1)

    def learn(self, x: Tensor, chosen: Tensor, decay: float) -> None:
        """One step of the exponential moving averages; an entry that nothing chooses becomes a vector of this batch."""
        counts = torch.bincount(chosen, minlength=len(self.cluster_usage)).float()
        sums = torch.zeros_like(self.embed_sum).index_add_(0, chosen, x)
        self.cluster_usage.lerp_(counts, 1 - decay)
        self.embed_sum.lerp_(sums, 1 - decay)
        unused = self.cluster_usage < 0.02
        if unused.any():
            some = x[torch.randint(len(x), (int(unused.sum()),), device=x.device)]
            self.cluster_usage[unused] = 0.2
            self.embed_sum[unused] = 0.2 * some


class Level(nn.Module):
    def __init__(self, size: int, width: int):
        super().__init__()
        self.codebook = Codebook(size, width)


class ResidualQuantizer(nn.Module):
    def __init__(self, config: dict, levels: int):
        super().__init__()
        width = config["codebook_dim"]
        self.layers = nn.ModuleList(Level(config["codebook_size"], width) for _ in range(levels))
        self.input_proj = nn.Conv1d(config["hidden_size"], width, 1, bias=False)
        self.output_proj = nn.Conv1d(width, config["hidden_size"], 1, bias=False)

    @torch.no_grad()
    def quantize(self, x: Tensor, levels: Tensor, decay: float | None = None) -> Tensor:
        """The sum of each vector's first entries.

        x: [vectors, width]; levels: [vectors], how many entries each gets; decay: learn from x, with these averages.
        """
        residual = x.clone()
        for i, level in enumerate(self.layers[: int(levels.max())]):
            rows = (levels > i).nonzero()[:, 0]
            here = residual[rows]
            chosen = level.codebook.nearest(here)
            residual[rows] = here - level.codebook.entries[chosen]
            if decay is not None:
                level.codebook.learn(here, chosen, decay)
        return x - residual


    @torch.no_grad()
    def fit(self, x: Tensor) -> None:
        """k-means level by level. x: [vectors, width]"""
        for level in self.layers:
            level.codebook.fit(x)
            x = x - level.codebook.entries[level.codebook.nearest(x)]


class SplitQuantizer(nn.Module):
    def __init__(self, config: dict):
        super().__init__()
        semantic = config["num_semantic_quantizers"]
        self.semantic_levels = semantic
        self.semantic_residual_vector_quantizer = ResidualQuantizer(config, semantic)
        self.acoustic_residual_vector_quantizer = ResidualQuantizer(config, config["num_quantizers"] - semantic)

    @property
    def branches(self) -> tuple[ResidualQuantizer, ResidualQuantizer]:
        return self.semantic_residual_vector_quantizer, self.acoustic_residual_vector_quantizer

    @property
    def ready(self) -> bool:
        return bool(self.acoustic_residual_vector_quantizer.layers[0].codebook.initialized.item())

    def fit(self, x: Tensor) -> None:
        """Codebooks for latents [batch, hidden, positions]. At first the semantic branch is a mute copy of the acoustic one."""
        if not self.ready:
            semantic, acoustic = self.branches
            semantic.input_proj.weight.data.copy_(acoustic.input_proj.weight)
            semantic.output_proj.weight.data.zero_()
        for branch in self.branches:
            branch.fit(branch.input_proj(x).transpose(1, 2).flatten(0, 1))

    def continuous(self, x: Tensor) -> Tensor:
        """What training begins with: no codebooks, noise of up to 0.3 of the latents' size, the acoustic branch alone."""
        branch = self.acoustic_residual_vector_quantizer
        projected = branch.input_proj(x)
        noise = 0.3 * torch.rand(len(x), 1, 1, device=x.device) * projected.detach().std()
        return branch.output_proj(projected + noise * torch.randn_like(projected))

    def forward(self, x: Tensor, codebooks: Tensor, decay: float | None = None) -> tuple[Tensor, Tensor]:
        """Quantized latents, straight through for gradients, and the commitment loss.

        codebooks: [batch], how many each row gets (quantizer dropout).
        """
        batch, _, positions = x.shape
        result, commitment = torch.zeros((), device=x.device), torch.zeros((), device=x.device)
        semantic = codebooks.clamp(max=self.semantic_levels)
        for branch, levels in zip(self.branches, (semantic, codebooks - semantic)):
            projected = branch.input_proj(x)
            flat = projected.detach().transpose(1, 2).reshape(batch * positions, -1).float()
            entries = branch.quantize(flat, levels.repeat_interleave(positions), decay)
            entries = entries.view(batch, positions, -1).transpose(1, 2)
            commitment = commitment + ((projected - entries) ** 2).mean() / (projected.detach() ** 2).mean()
            result = result + branch.output_proj(projected + (entries - projected).detach())
        return result, commitment


    @torch.no_grad()
    def codes(self, x: Tensor) -> Tensor:
        """All codes of latents: [batch, codebooks, positions]."""
        batch, _, positions = x.shape
        codes = []
        for branch in self.branches:
            residual = branch.input_proj(x).transpose(1, 2).flatten(0, 1)
            for level in branch.layers:
                chosen = level.codebook.nearest(residual)
                residual = residual - level.codebook.entries[chosen]
                codes.append(chosen.view(batch, positions))
        return torch.stack(codes, 1)

    def lookup(self, codes: Tensor) -> Tensor:
        """Latents of all codes, [batch, hidden, positions]."""
        result, rest = torch.zeros(()), codes
        for branch in self.branches:
            here, rest = rest[:, : len(branch.layers)], rest[:, len(branch.layers) :]
            entries = sum(level.codebook.entries[here[:, i]] for i, level in enumerate(branch.layers))
            result = result + branch.output_proj(entries.transpose(1, 2))
        return result


class Mimi(nn.Module):
    def __init__(self, config: dict):
        super().__init__()
        self.config = config
        width = config["hidden_size"]
        self.encoder = seanet_encoder(config)
        self.encoder_transformer = Transformer(config)
        self.downsample = Conv(width, width, 4, 2, bias=False, replicate=True)
        self.quantizer = SplitQuantizer(config)
        self.upsample = ConvTranspose(width, width, 2, groups=config["upsample_groups"], bias=False)
        self.decoder_transformer = Transformer(config)
        self.decoder = seanet_decoder(config)

    def encode(self, audio: Tensor) -> Tensor:
        """[batch, 1, frames * 1920] samples to [batch, hidden, frames] latents before the quantizer."""
        return self.downsample(self.encoder_transformer(self.encoder(audio)))

    def decode(self, latents: Tensor) -> Tensor:
        return self.decoder(self.decoder_transformer(self.upsample(latents)))
