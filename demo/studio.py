"""What the demo's nodes produce: pictures, drawn from what the graph says."""

from __future__ import annotations

from typing import Any

from demo.graph import Json, links
from demo.places import Places

OBJECT_INFO: Json = {
    name: {
        "input": {"required": required},
        "input_order": {"required": list(required)},
        "output": output,
        "output_is_list": [False] * len(output),
        "output_name": output,
        "name": name,
        "display_name": label,
        "description": "Demo: this is not ComfyUI.",
        "category": category,
        "output_node": not output,
    }
    for name, label, category, output, required in (
        (
            "EmptyImage",
            "EmptyImage",
            "image",
            ["IMAGE"],
            {
                "width": ["INT", {"default": 512, "min": 1, "max": 2048}],
                "height": ["INT", {"default": 512, "min": 1, "max": 2048}],
                "batch_size": ["INT", {"default": 1, "min": 1, "max": 16}],
                "color": ["INT", {"default": 0, "min": 0, "max": 16777215}],
            },
        ),
        (
            "DemoPaint",
            "Paint (demo)",
            "demo",
            ["IMAGE"],
            {
                "text": ["STRING", {"multiline": True}],
                "seed": ["INT", {"default": 0}],
                "width": ["INT", {"default": 768}],
                "height": ["INT", {"default": 512}],
            },
        ),
        ("Sleep", "Sleep (demo)", "demo", [], {"seconds": ["FLOAT", {"default": 2.0}]}),
        ("PreviewImage", "Preview Image", "image", [], {"images": ["IMAGE"]}),
        (
            "SaveImage",
            "Save Image",
            "image",
            [],
            {"images": ["IMAGE"], "filename_prefix": ["STRING", {"default": "ComfyUI"}]},
        ),
    )
}


class Studio:
    """Runs output nodes."""

    def __init__(self, places: Places) -> None:
        """Know where results go."""
        self._places = places

    def produce(self, node_id: str, prompt: dict[str, Json]) -> Json:
        """Run one output node.

        Raises:
            OSError: the result cannot be written.
            ValueError: it would land outside the output folder.
        """
        node = prompt[node_id]
        if node["class_type"] == "Sleep":
            return {}
        # Pillow takes a third of the start: it is loaded with the first picture.
        from demo import images

        keep = node["class_type"] == "SaveImage"
        folder = self._places.output if keep else self._places.temp
        prefix = str(node["inputs"].get("filename_prefix", "ComfyUI")) if keep else "ComfyUI_temp"
        source = _find(node_id, prompt, "width") or {}
        colour = source.get("color")
        picture = images.Picture(
            width=int(source.get("width", 512)),
            height=int(source.get("height", 512)),
            text=str((_find(node_id, prompt, "text") or {}).get("text", "")),
            seed=int((_find(node_id, prompt, "seed") or {}).get("seed", 0)),
            color=colour if isinstance(colour, int) else None,
        )
        count = min(max(int(source.get("batch_size", 1)), 1), 16)
        found = [images.save(images.draw(picture), folder, prefix) for _ in range(count)]
        kind = "output" if keep else "temp"
        return {
            "images": [
                {"filename": name, "subfolder": subfolder, "type": kind}
                for name, subfolder in found
            ]
        }


def _find(node_id: str, prompt: dict[str, Json], name: str) -> dict[str, Any] | None:
    """Look upstream for the nearest node that has an input of this name."""
    pending, seen = [node_id], set[str]()
    while pending:
        here = pending.pop(0)
        if here in seen:
            continue
        seen.add(here)
        inputs: dict[str, Any] = prompt[here]["inputs"]
        if name in inputs and not isinstance(inputs[name], list):
            return inputs
        pending += links(prompt[here])
    return None
