"""The clients that people have, against a running server: each gets the library's own vectors."""

import asyncio
import base64

import huggingface_hub
import numpy as np
import openai
from langchain_openai import OpenAIEmbeddings

from serving import TEXTS, check, library, serving


def main():
    with serving("--alias", "text-embedding-3-small") as server:
        openai_sync(server)
        asyncio.run(openai_async(server))
        openai_errors(server)
        hugging_face(server)
        langchain(server)


def openai_sync(server):
    client = openai.OpenAI(base_url=f"{server.url}/v1", api_key="none")
    names = [model.id for model in client.models.list()]
    assert names == ["text-embedding-3-small", "tiny"], names
    assert client.models.retrieve("tiny").id == "tiny"
    # Without a format the client asks for base64 and decodes it.
    answer = client.embeddings.create(model="tiny", input=TEXTS)
    check("openai, base64 by itself", vectors(answer), library())
    assert answer.usage.prompt_tokens == answer.usage.total_tokens > len(TEXTS)
    answer = client.embeddings.create(model="tiny", input=TEXTS, encoding_format="float")
    check("openai, float", vectors(answer), library())
    answer = client.embeddings.create(model="tiny", input=TEXTS, encoding_format="base64")
    rows = [np.frombuffer(base64.b64decode(item.embedding), "<f4") for item in answer.data]
    check("openai, base64 asked for", rows, library())
    answer = client.embeddings.create(model="tiny", input=TEXTS[0], dimensions=16)
    check("openai, 16 dimensions", vectors(answer), library("--dimensions", "16")[:1])
    answer = client.embeddings.create(model="tiny", input=TEXTS, extra_body={"input_type": "query"})
    check("openai, queries", vectors(answer), library("--query"))
    texts = [f"text number {number}" for number in range(500)]
    answer = client.embeddings.create(model="tiny", input=texts)
    check("openai, a batch", vectors(answer), library(texts=texts))


async def openai_async(server):
    async with openai.AsyncOpenAI(base_url=f"{server.url}/v1", api_key="none") as client:
        asked = [client.embeddings.create(model="tiny", input=text) for text in TEXTS * 8]
        answers = await asyncio.gather(*asked)
    rows = [row for answer in answers for row in vectors(answer)]
    check("openai, asynchronous", rows, np.tile(library(), (8, 1)))


def openai_errors(server):
    client = openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0)
    for kind, arguments in [
        (openai.NotFoundError, {"model": "gpt-4", "input": "a"}),
        (openai.BadRequestError, {"model": "tiny", "input": ""}),
        (openai.BadRequestError, {"model": "tiny", "input": "a", "dimensions": 193}),
        (openai.BadRequestError, {"model": "tiny", "input": "word " * 2000}),
    ]:
        try:
            client.embeddings.create(**arguments)
        except kind as error:
            assert error.body["message"] and error.body["type"] == "invalid_request_error"
        else:
            raise AssertionError(f"expected {kind.__name__} for {arguments}")
    print("ok: openai, errors are its own kinds")


def vectors(answer):
    assert [item.index for item in answer.data] == list(range(len(answer.data)))
    return [item.embedding for item in answer.data]


def hugging_face(server):
    client = huggingface_hub.InferenceClient(model=f"{server.url}/embed")
    for text, expected in zip(TEXTS, library()):
        found = client.feature_extraction(text)
        assert found.shape == (1, len(expected)), found.shape
        assert np.abs(found[0] - expected).max() < 1e-5
    print(f"ok: huggingface_hub, feature_extraction of {len(TEXTS)} texts")
    check("huggingface_hub, a list", client.feature_extraction(TEXTS), library())
    found = client.feature_extraction(
        "word " * 2000, normalize=True, prompt_name="query", truncate=True, truncation_direction="right"
    )
    cut = library("--query", "--truncate", "end", texts=["word " * 2000])
    check("huggingface_hub, a query that is cut", found, cut)
    raw = client.feature_extraction(TEXTS, normalize=False)
    assert np.allclose(raw, library("--no-normalize"), atol=1e-4)


def langchain(server):
    # Else it sends ids of OpenAI's tokenizer, which are refused.
    model = OpenAIEmbeddings(
        base_url=f"{server.url}/v1", api_key="none", model="tiny", check_embedding_ctx_length=False
    )
    check("langchain, documents", model.embed_documents(TEXTS), library())
    check("langchain, a query", [model.embed_query(TEXTS[0])], library()[:1])
    check("langchain, asynchronous", asyncio.run(model.aembed_documents(TEXTS)), library())


if __name__ == "__main__":
    main()
