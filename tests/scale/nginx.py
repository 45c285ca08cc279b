"""nginx as a server of one directory: what a download may cost."""

import os
import pwd
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tests.scale.serving import Server, free_port, started_at

# One worker, as a bridge has one process; all that it writes is in the directory of the run.
CONFIGURATION = """
daemon off;
{user}
worker_processes 1;
pid {directory}/nginx.pid;
error_log stderr warn;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    sendfile on;
    tcp_nopush on;
    keepalive_requests 1000000;
    default_type application/octet-stream;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    server {{
        listen 127.0.0.1:{port};
        root {served};
    }}
}}
"""


@asynccontextmanager
async def nginx(served: Path, directory: Path) -> AsyncIterator[Server]:
    """Serve a directory until the block ends."""
    port = free_port()
    # The worker of a root's nginx is somebody else otherwise, who may not read the directory.
    user = f"user {pwd.getpwuid(0).pw_name};" if os.geteuid() == 0 else ""
    configuration = directory / "nginx.conf"
    configuration.write_text(CONFIGURATION.format(user=user, directory=directory, served=served, port=port))
    async with started_at(port, "nginx", "-c", str(configuration), "-p", str(directory)) as server:
        yield server
