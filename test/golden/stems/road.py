"""RoAd in its three variants. qwen2's projections have biases, which are rotated, too."""

from peft import RoadConfig
from stem import Case


def road(**fields) -> RoadConfig:
    return RoadConfig(**{"group_size": 8, "target_modules": ["q_proj", "v_proj"], **fields})


CASES = {
    "road": Case(lambda family: road(), families=("llama",), merges=True, greedy=True, bf16=True),
    "road-2": Case(lambda family: road(variant="road_2", group_size=16), families=("qwen2",), merges=True),
    "road-4": Case(
        lambda family: road(variant="road_4", group_size=4, target_modules=["down_proj"]),
        families=("llama",),
        merges=True,
    ),
}

NOISE = {
    ".road_theta.": lambda parameter, noise: parameter.copy_(0.5 * noise),
    ".road_alpha.": lambda parameter, noise: parameter.copy_(1 + 0.3 * noise),
}
