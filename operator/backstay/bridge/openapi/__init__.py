"""The device protocol as an OpenAPI 3.1 document, made from the constants by which the bridge itself goes."""
