"""The two applications of the Hub: its own addresses, and those of the storage that large files lie in."""

from __future__ import annotations

from fastapi import APIRouter, FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from tests.hubserver import errors, routes_commits, routes_files, routes_lfs, routes_refs, routes_repos
from tests.hubserver.state import State


def hub_app(state: State) -> FastAPI:
    """The Hub. The order counts: the fixed addresses of `routes_repos` come before those with a name in their place."""
    routers = (routes_repos.router, routes_refs.router, routes_commits.router, routes_lfs.router, routes_files.router)
    return _app(state, *routers)


def storage_app(state: State) -> FastAPI:
    """The server of the large files."""
    return _app(state, routes_lfs.storage_router)


def _app(state: State, *routers: APIRouter) -> FastAPI:
    app = FastAPI(openapi_url=None, redirect_slashes=False)
    app.state.hub = state
    for router in routers:
        app.include_router(router)
    app.add_exception_handler(errors.HubError, errors.answer_refusal)
    app.add_exception_handler(RequestValidationError, errors.answer_malformed)
    app.add_exception_handler(HTTPException, errors.answer_unknown)
    app.add_exception_handler(Exception, errors.answer_bug)
    return app
