"""What each method does, in a line, for a reader who meets its name."""

from __future__ import annotations

METHOD_WORDS = {
    "finetune": "every parameter of the codec learns",
    "finetune_encoder": "what the sender alone runs learns",
    "finetune_decoder": "all that the receiver runs learns",
    "freeze_entropy": "analysis and synthesis learn, the entropy model does not",
    "from_scratch": "every parameter learns, from random weights",
    "continue_source": "every parameter learns, on source images alone",
    "cawf": "channels added beside the codec, which stays as it is and does not read them",
    "cawf_two_way": "channels added beside the codec, which write into its activations",
    "lora": "a low-rank update beside every kernel",
    "lora_transforms": "a low-rank update beside each kernel of analysis and synthesis",
    "lora_entropy": "a low-rank update beside each kernel of the entropy model",
    "rslora": "a low-rank update beside every kernel, scaled by the root of its rank",
    "dora": "a low-rank update of every kernel's direction, and its length",
    "lora_all_rates": "one low-rank update beside every kernel for all lambdas, weighed by lambda",
    "residual_adapter": "a small convolution parallel to every layer",
    "gated_adapters": "adapters in the decoder, and a gate that says how much of them a picture gets",
    "bias_gain": "biases and GDN gains learn, no kernel",
    "latent_refinement": "nothing learns: the latents of each picture are searched",
    "regularised_refinement": "latents of each picture are searched, hyper-latents held near the encoder's",
    "l2_sp": "every parameter learns, pulled back to where it began",
    "ewc": "every parameter learns, pulled back where the source would suffer",
    "distill": "every parameter learns, with the old codec as teacher on target images",
    "replay": "every parameter learns, and half of each batch is source images",
}
"""Of every method in `METHOD_TABLE`, in its order; their classes say it at length."""
