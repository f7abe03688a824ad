"""The bench's workloads on DBOS Python behind FastAPI and uvicorn, written as its documentation shows.

Usage: dbos_python.py DATABASE_URL. The tables of the app are made here, those of DBOS by DBOS itself. When the server
listens, the program prints its port on a line of its own.

Requests come in as threads of FastAPI's pool, which is made large enough for the load: every request of the bench may be
in a workflow at once, as in the host.
"""

import asyncio
import socket
import sys

import anyio.to_thread
import sqlalchemy as sa
import uvicorn
from dbos import DBOS, SQLAlchemyDatasource
from fastapi import FastAPI
from fastapi.responses import PlainTextResponse

# As many as the bench has in flight.
THREADS = 64
# As many connections as DBOS has by itself for its own tables.
POOL = 20

url = sys.argv[1]
DBOS(config={"name": "peer", "system_database_url": url, "log_level": "ERROR"})
source = SQLAlchemyDatasource.create(url.replace("postgresql://", "postgresql+psycopg://"), engine_kwargs={"pool_size": POOL})
app = FastAPI()


@DBOS.step()
def nothing(number: int) -> int:
    return number


@source.transaction
def insert(name: str) -> int:
    statement = sa.text("INSERT INTO bench_rows (name) VALUES (:name)")
    return source.sql_session().execute(statement, {"name": name}).rowcount


@DBOS.workflow()
def one_step_workflow() -> int:
    return nothing(1)


@DBOS.workflow()
def ten_steps_workflow() -> int:
    return sum(nothing(number) for number in range(1, 11))


@DBOS.workflow()
def one_row_workflow() -> int:
    return insert("Mike")


@app.post("/workflows/one_step")
def one_step() -> int:
    return one_step_workflow()


@app.post("/workflows/ten_steps")
def ten_steps() -> int:
    return ten_steps_workflow()


@app.post("/workflows/one_row")
def one_row() -> int:
    return one_row_workflow()


@app.get("/greeting/{name}", response_class=PlainTextResponse)
def greeting(name: str) -> str:
    one_row_workflow()
    return f"Thank you for being awesome, {name}!"


async def serve() -> None:
    anyio.to_thread.current_default_thread_limiter().total_tokens = THREADS
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", 0))
    listener.listen(1024)
    print(listener.getsockname()[1], flush=True)
    await uvicorn.Server(uvicorn.Config(app, log_level="error", access_log=False)).serve(sockets=[listener])


def make_tables() -> None:
    with sa.create_engine(url.replace("postgresql://", "postgresql+psycopg://")).begin() as connection:
        connection.execute(sa.text("CREATE TABLE bench_rows (id bigserial PRIMARY KEY, name text NOT NULL)"))


make_tables()
DBOS.launch()
asyncio.run(serve())
