"""What a customer's image must be, written down anew from the contract: a second opinion on the product."""

import hashlib
from typing import Any

from pymongo.collection import Collection

Customer = dict[str, Any]
SENSITIVE = ("firstName", "lastName")
SENSITIVE_IN_ADDRESS = ("line1", "line2", "postcode")


def hashed(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def image_of(customer: Customer) -> Customer:
    """Return the anonymised twin of a customer whose sensitive values are all plain texts."""
    image = {**customer, **{name: hashed(customer[name]) for name in SENSITIVE if name in customer}}
    if "email" in customer:
        local_part, at, domain = customer["email"].rpartition("@")
        image["email"] = f"{hashed(local_part)}{at}{domain}"
    if "address" in customer:
        address = customer["address"]
        image["address"] = address | {name: hashed(address[name]) for name in SENSITIVE_IN_ADDRESS}
    return image


def are_twins(source: "Collection[Customer]", mirror: "Collection[Customer]") -> bool:
    """Tell whether the mirror is exactly what the source makes it, order of fields included."""
    images = [list(image_of(each).items()) for each in source.find(sort=[("_id", 1)])]
    return images == [list(each.items()) for each in mirror.find(sort=[("_id", 1)])]


def customer(id_: Any, name: str = "John") -> Customer:
    return {
        "_id": id_,
        "firstName": name,
        "lastName": "Doe",
        "email": f"{name.lower()}.doe@example.com",
        "address": {"line1": "1 High St", "line2": "Apt. 2", "postcode": "12345", "city": "Paris"},
    }
