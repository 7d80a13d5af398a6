"""Image work with Pillow: draw, flip, rotate, filter, grey scale, resize, encode, decode.

Event: {"size": int}. Answer: each step's dimensions and a check of one pixel.
"""
import io

from PIL import Image, ImageDraw, ImageFilter


def picture(size):
    image = Image.new("RGB", (size, size), (255, 255, 255))
    draw = ImageDraw.Draw(image)
    for i in range(0, size, 8):
        draw.line((0, i, i, size - 1), fill=(i % 256, 128, 255 - i % 256), width=3)
    draw.rectangle((0, 0, size // 4, size // 4), fill=(255, 0, 0))
    return image


def handler(event, context):
    size = int(event.get("size", 256))
    image = picture(size)
    flipped = image.transpose(Image.FLIP_LEFT_RIGHT)
    rotated = image.transpose(Image.ROTATE_90)
    blurred = image.filter(ImageFilter.GaussianBlur(2))
    grey = image.convert("L")
    thumbnail = image.resize((size // 4, size // 4), Image.LANCZOS)
    encoded = {}
    for kind in ("PNG", "JPEG"):
        buffer = io.BytesIO()
        thumbnail.save(buffer, kind)
        decoded = Image.open(io.BytesIO(buffer.getvalue()))
        decoded.load()
        encoded[kind.lower()] = {"bytes": len(buffer.getvalue()), "size": list(decoded.size)}
    return {
        "corner": list(image.getpixel((2, 2))),
        "flipped_corner": list(flipped.getpixel((size - 3, 2))),
        "rotated_corner": list(rotated.getpixel((2, size - 3))),
        "blurred": list(blurred.size),
        "grey": grey.mode,
        **encoded,
    }
